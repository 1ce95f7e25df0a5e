"""Attacks on who vouches: signatures that are wrong, too few, of the wrong kind or key; and roots."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.attacks.forge import ROOT, Doc, Forge, Parts, key, key_id, root_part, signed_root
from tests.attacks.scene import Scene
from tests.attacks.table import attack

from sealift import canonical
from sealift.bundle import layout
from sealift.trust.keys import APPROVAL_CONTEXT, RELEASE_CONTEXT, ROOT_CONTEXT, TRANSPORT_CONTEXT

OTHER_PRODUCT = "other-thing"


def with_signatures_of(forge: Forge) -> Parts:
    other = forge.parts()
    names = (layout.RELEASE_SIGNATURES, layout.TRANSPORT_SIGNATURES)
    return Forge().parts() | {name: other[name] for name in names}


@attack("the signatures of another version", 21, "fraud: the signature of .* does not verify")
def other_version(scene: Scene) -> Path:
    return scene.as_file(with_signatures_of(Forge(version="8.0", seq=8)))


@attack("the signatures of another product", 21, "fraud: the signature of .* does not verify")
def other_product(scene: Scene) -> Path:
    return scene.as_file(with_signatures_of(Forge(product="fraud-test")))


@attack("the transport signed for another selection of objects", 21, "transport.json: the signature of")
def other_selection(scene: Scene) -> Path:
    parts = Forge(bend_transport=lambda doc: doc["manifests"].pop()).parts()
    return scene.as_file(Forge().parts() | {layout.TRANSPORT_SIGNATURES: parts[layout.TRANSPORT_SIGNATURES]})


@attack("a transport signature in place of the release's", 21, "fraud: the signature of")
def transport_context(scene: Scene) -> Path:
    return scene.as_file(Forge(contexts=(TRANSPORT_CONTEXT, APPROVAL_CONTEXT, TRANSPORT_CONTEXT)).parts())


@attack("a release signature in place of the officer's approval", 21, "fraud: the signature of")
def release_context(scene: Scene) -> Path:
    return scene.as_file(Forge(contexts=(RELEASE_CONTEXT, RELEASE_CONTEXT, TRANSPORT_CONTEXT)).parts())


@attack("a root signature in place of the transport's", 21, "transport.json: the signature of")
def root_context(scene: Scene) -> Path:
    return scene.as_file(Forge(contexts=(RELEASE_CONTEXT, APPROVAL_CONTEXT, ROOT_CONTEXT)).parts())


@attack("nobody signed", 23, "fraud: not signed by anybody; 2 must")
def unsigned(scene: Scene) -> Path:
    return scene.as_file(Forge(signers=(), approvers=(), transport_signers=()).parts())


def signed_with(scene: Scene, *names: str) -> Path:
    return scene.as_file(Forge(signers=names, transport_signers=names).parts())


@attack("unknown keys", 23, "fraud: signed by .*; 0 of them may sign fraud")
def unknown_keys(scene: Scene) -> Path:
    return signed_with(scene, "mallory", "trudy")


@attack("a revoked key", 26, "is revoked, its signature counts no more")
def revoked_key(scene: Scene) -> Path:
    return signed_with(scene, "ada", "thief")


@attack("a key for other products", 23, "1 of them may sign fraud under the trusted root, 2 must")
def other_pattern(scene: Scene) -> Path:
    return signed_with(scene, "ada", "other")


@attack("a root key in place of a release key", 23, "1 of them may sign fraud")
def root_key_signs(scene: Scene) -> Path:
    return signed_with(scene, "ada", "root1")


@attack("an officer in place of a release key", 23, "1 of them may sign fraud")
def officer_signs(scene: Scene) -> Path:
    return signed_with(scene, "ada", "officer")


@attack("too few release keys", 23, "1 of them may sign fraud under the trusted root, 2 must")
def too_few(scene: Scene) -> Path:
    return signed_with(scene, "ada")


@attack("too few release keys for the transport", 23, "fraud, transport.json: signed by .* 2 must")
def too_few_for_transport(scene: Scene) -> Path:
    return scene.as_file(Forge(transport_signers=("ben",)).parts())


@attack("a transport that nobody signed", 23, "fraud, transport.json: not signed by anybody")
def unsigned_transport(scene: Scene) -> Path:
    return scene.as_file(Forge(transport_signers=()).parts())


@attack("one key twice for a threshold of two", 11, "or one stands twice")
def one_key_twice(scene: Scene) -> Path:
    parts = Forge(signers=("ada",)).parts()
    doc = canonical.decode(parts[layout.RELEASE_SIGNATURES], "x")
    doc["signatures"] *= 2
    return scene.as_file(parts | {layout.RELEASE_SIGNATURES: canonical.encode(doc)})


@attack("a good signature under another key's name", 21, "the signature of .* does not verify")
def borrowed_name(scene: Scene) -> Path:
    parts = Forge(signers=("ada",)).parts()
    doc = canonical.decode(parts[layout.RELEASE_SIGNATURES], "x")
    doc["signatures"].append(doc["signatures"][0] | {"key": key_id("ben")})
    doc["signatures"].sort(key=lambda item: item["key"])
    return scene.as_file(parts | {layout.RELEASE_SIGNATURES: canonical.encode(doc)})


def spoilt(doc: Doc, name: str) -> None:
    """A signature of the release that does not verify."""
    doc["signatures"].append(key(name).sign(b"something else").to_json())
    doc["signatures"].sort(key=lambda item: item["key"])


@attack("a wrong signature beside enough good ones", 21, "fraud: the signature of .* does not verify")
def wrong_beside_good(scene: Scene) -> Path:
    parts = Forge().parts()
    doc = canonical.decode(parts[layout.RELEASE_SIGNATURES], "x")
    spoilt(doc, "other")
    return scene.as_file(parts | {layout.RELEASE_SIGNATURES: canonical.encode(doc)})


@attack("a signature in another base64 form", 11, "a signature is not in its one base64 form")
def other_base64(scene: Scene) -> Path:
    parts = Forge().parts()
    doc = canonical.decode(parts[layout.TRANSPORT_SIGNATURES], "x")
    text = doc["signatures"][0]["signature"]
    doc["signatures"][0]["signature"] = text[:85] + chr(ord(text[85]) + 1) + "=="  # bits that no byte has
    return scene.as_file(parts | {layout.TRANSPORT_SIGNATURES: canonical.encode(doc)})


@attack("an algorithm that nobody knows", 11, "algorithm 'none' is not known")
def no_algorithm(scene: Scene) -> Path:
    parts = Forge().parts()
    data = parts[layout.RELEASE_SIGNATURES].replace(b'"ed25519"', b'"none"')
    return scene.as_file(parts | {layout.RELEASE_SIGNATURES: data})


@attack("no officer approved", 27, "fraud: not approved by anybody; 1 must")
def no_officer(scene: Scene) -> Path:
    return scene.as_file(Forge(approvers=()).parts())


@attack("a release key approves", 27, "0 of them may approve fraud")
def release_key_approves(scene: Scene) -> Path:
    return scene.as_file(Forge(approvers=("ada", "ben")).parts())


@attack(
    "fewer officers than this box asks for", 27, "1 of them may approve fraud under the trusted root, 2 must"
)
def box_policy(scene: Scene) -> Path:
    scene.ask_for_officers(2)
    return scene.as_file(Forge().parts())


@attack("an approval of another version", 21, "fraud: the signature of")
def other_approval(scene: Scene) -> Path:
    other = canonical.decode(Forge(version="8.0", seq=8).parts()[layout.RELEASE_SIGNATURES], "x")
    parts = Forge().parts()
    doc = canonical.decode(parts[layout.RELEASE_SIGNATURES], "x") | {"approvals": other["approvals"]}
    return scene.as_file(parts | {layout.RELEASE_SIGNATURES: canonical.encode(doc)})


NEW_ROOTS = ("new1", "new2", "new3")


def rotated(scene: Scene, by: Iterable[str], version: int = 2, **changes: object) -> Path:
    """A bundle that brings a second root, signed by these root keys; mallory and trudy sign the release."""
    facts = {"release": {"mallory": ["*"], "trudy": ["*"]}, "roots": NEW_ROOTS, **changes}
    root = signed_root(root_part(version, **facts), by)
    both = ("mallory", "trudy")
    return scene.as_file(Forge(signers=both, transport_signers=both, roots={1: ROOT, version: root}).parts())


@attack(
    "a rotation with too few of the old root keys",
    21,
    "signed by 1 of the 3 root keys of version 1, 2 are needed",
)
def too_few_old(scene: Scene) -> Path:
    return rotated(scene, ("root1", "new1", "new2"))


@attack(
    "a rotation with none of the old root keys",
    21,
    "signed by 0 of the 3 root keys of version 1, 2 are needed",
)
def none_of_the_old(scene: Scene) -> Path:
    return rotated(scene, NEW_ROOTS)


@attack("a rotation with too few of the new root keys", 21, "signed by 1 of its root keys, 2 are needed")
def too_few_new(scene: Scene) -> Path:
    return rotated(scene, ("root1", "root2", "new1"))


@attack("a rotation that a stranger signed too", 21, "signed it and may not")
def stranger_in_rotation(scene: Scene) -> Path:
    return rotated(scene, ("root1", "root2", "new1", "new2", "mallory"))


@attack(
    "a rotation with a wrong signature beside enough good ones", 21, "the signature of root key .* is wrong"
)
def wrong_in_rotation(scene: Scene) -> Path:
    facts = {"release": {"ada": ["fraud*"], "ben": ["fraud*"]}, "roots": NEW_ROOTS}
    doc = canonical.decode(signed_root(root_part(2, **facts), ("root1", "root2", "new1", "new2")), "x")
    spoilt(doc, "root3")
    return scene.as_file(Forge(roots={1: ROOT, 2: canonical.encode(doc)}).parts())


@attack("a rotation to a root that lists a revoked key", 11, "a revoked key is listed")
def lists_revoked(scene: Scene) -> Path:
    return rotated(scene, ("root1", "root2", "new1", "new2"), revoked=("mallory", "thief"))


@attack("a rotation that leaves a version out", 20, "version 2 is missing between them")
def version_left_out(scene: Scene) -> Path:
    return rotated(scene, ("root1", "root2", "new1", "new2"), version=3)


@attack("a rotation that forgets a revoked key", 20, "forgets that .* is revoked")
def forgets_revoked(scene: Scene) -> Path:
    return rotated(scene, ("root1", "root2", "new1", "new2"), revoked=())


@attack(
    "a rotation whose last step nobody of the step before signed", 21, "0 of the 3 root keys of version 2"
)
def broken_second_step(scene: Scene) -> Path:
    two = signed_root(root_part(2, roots=NEW_ROOTS), ("root1", "root2", "new1", "new2"))
    part = root_part(3, roots=("m1", "m2"), release={"mallory": ["*"], "trudy": ["*"]})
    roots = {1: ROOT, 2: two, 3: signed_root(part, ("root1", "root2", "m1", "m2"))}
    both = ("mallory", "trudy")
    three = Forge(signers=both, transport_signers=both, roots=roots).parts()
    return scene.as_file(three)


@attack("a key that a new root revoked", 26, "is revoked, its signature counts no more")
def revoked_by_rotation(scene: Scene) -> Path:
    facts = {"release": {"ada": ["fraud*"], "cleo": ["fraud*"]}, "revoked": ("ben", "thief")}
    root = signed_root(root_part(2, **facts), ("root1", "root2"))
    return scene.as_file(Forge(roots={1: ROOT, 2: root}).parts())


EVIL = root_part(1, roots=NEW_ROOTS, release={"mallory": ["*"], "trudy": ["*"]})
EVIL_ROOT = signed_root(EVIL, NEW_ROOTS)


@attack("another first root in the bundle", 20, "this prefix trusts root .* no chain of signatures leads")
def other_root(scene: Scene) -> Path:
    both = ("mallory", "trudy")
    return scene.as_file(Forge(signers=both, transport_signers=both, roots={1: EVIL_ROOT}).parts())


@attack(
    "another root named with --trust at a pinned prefix",
    20,
    "no chain of signatures leads",
    about_bytes=False,
)
def other_trust(scene: Scene) -> Path:
    trust = scene.folder / "evil.json"
    trust.write_bytes(EVIL_ROOT)
    scene.argv += ["--trust", str(trust)]
    both = ("mallory", "trudy")
    return scene.as_file(Forge(signers=both, transport_signers=both, roots={}).parts())


@attack(
    "a bundle that vouches for itself on a new box", 25, "a bundle cannot vouch for itself", about_bytes=False
)
def vouches_for_itself(scene: Scene) -> Path:
    scene.prefix = scene.folder / "new-box"
    return scene.as_file(Forge().parts())


@attack("an edited root named with --trust", 21, "root key .* is wrong", about_bytes=False)
def edited_trust(scene: Scene) -> Path:
    trust = scene.folder / "root.json"
    trust.write_bytes(ROOT.replace(b'"fraud*"', b'"fraud?"'))
    scene.argv += ["--trust", str(trust)]
    return scene.as_file(Forge().parts())
