"""ResNet18 as it was published (He et al. 2015, table 1), written here because no torchvision for the CPU is needed.

Shape only: weights are drawn, and batch norm has the statistics of drawn inputs, so that activations look like a
trained network's: neither vanishing nor growing from layer to layer.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

SIDE: Final = 224
_SEED: Final = 7
_STAGES: Final = ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet18() -> nn.Sequential:
    """[n, 3, 224, 224] -> [n, 1000]; the same weights at every call."""
    torch.manual_seed(_SEED)
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks = [Block(*each) for stage in _STAGES for each in (stage, (stage[1], stage[1], 1))]
    net = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain average over all that is shown
    with torch.no_grad():
        for _ in range(2):
            net.train()(pictures(4))
    return net.eval()


def pictures(count: int) -> torch.Tensor:
    """Smooth noise, as photos are smooth; goes on with torch's own generator."""
    small = torch.randn(count, 3, SIDE // 8, SIDE // 8)
    return nn.functional.interpolate(small, size=(SIDE, SIDE), mode="bicubic") + 0.1 * torch.randn(
        count, 3, SIDE, SIDE
    )


def write_files(folder: Path) -> dict[str, Path]:
    """`onnx`: fp32 with a dynamic batch; `torch`: the state dict; `guide`: what the guide's recipe saves."""
    folder.mkdir(parents=True)
    net = resnet18()
    jit: Any = torch.jit
    paths = {"onnx": folder / "fp32.onnx", "torch": folder / "fp32.pth", "guide": folder / "guide.pt"}
    sample = pictures(1)
    torch.save(net.state_dict(), paths["torch"])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch deprecates exporter, tracer and this quantiser piece by piece
        torch.onnx.export(
            net, (sample,), str(paths["onnx"]), input_names=["input"], output_names=["logits"],
            dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}}, opset_version=17, dynamo=False,
        )  # fmt: skip
        jit.trace(guides_recipe(net), sample).save(str(paths["guide"]))
    return paths


def guides_recipe(net: nn.Module) -> Any:
    """Word by word: dynamic INT8 of the linear layers."""
    quantization: Any = torch.ao.quantization
    return quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)
