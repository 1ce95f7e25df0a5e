"""The protocol's messages, described here in sealift's own words and built by the protobuf runtime on import.

Source: Open Inference Protocol v2, gRPC (names, numbers and types of the fields are its public interface), with
Triton's extensions for configuration, statistics and the repository; gRPC health checking protocol.

A pool of our own: a client library in the same process may bring messages of the same names.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_INFERENCE: Final = """
InferParameter
  1 bool_param bool | 2 int64_param int64 | 3 string_param string | 4 double_param double | 5 uint64_param uint64
InferTensorContents
  1 bool_contents bool* ; 2 int_contents int32* ; 3 int64_contents int64* ; 4 uint_contents uint32*
  5 uint64_contents uint64* ; 6 fp32_contents float* ; 7 fp64_contents double* ; 8 bytes_contents bytes*
InferInputTensor
  1 name string ; 2 datatype string ; 3 shape int64* ; 4 parameters InferParameter% ; 5 contents InferTensorContents
InferRequestedOutputTensor
  1 name string ; 2 parameters InferParameter%
InferOutputTensor
  1 name string ; 2 datatype string ; 3 shape int64* ; 4 parameters InferParameter% ; 5 contents InferTensorContents
ModelInferRequest
  1 model_name string ; 2 model_version string ; 3 id string ; 4 parameters InferParameter%
  5 inputs InferInputTensor* ; 6 outputs InferRequestedOutputTensor* ; 7 raw_input_contents bytes*
ModelInferResponse
  1 model_name string ; 2 model_version string ; 3 id string ; 4 parameters InferParameter%
  5 outputs InferOutputTensor* ; 6 raw_output_contents bytes*
ServerLiveResponse
  1 live bool
ServerReadyResponse
  1 ready bool
ModelRequest
  1 name string ; 2 version string
ModelReadyResponse
  1 ready bool
ServerMetadataResponse
  1 name string ; 2 version string ; 3 extensions string*
TensorMetadata
  1 name string ; 2 datatype string ; 3 shape int64*
ModelMetadataResponse
  1 name string ; 2 versions string* ; 3 platform string ; 4 inputs TensorMetadata* ; 5 outputs TensorMetadata*
ModelInput
  1 name string ; 2 data_type DataType ; 4 dims int64*
ModelOutput
  1 name string ; 2 data_type DataType ; 3 dims int64*
ModelConfig
  1 name string ; 2 platform string ; 4 max_batch_size int32 ; 5 input ModelInput* ; 6 output ModelOutput*
  17 backend string
ModelConfigResponse
  1 config ModelConfig
StatisticDuration
  1 count uint64 ; 2 ns uint64
InferStatistics
  1 success StatisticDuration ; 2 fail StatisticDuration ; 3 queue StatisticDuration
  4 compute_input StatisticDuration ; 5 compute_infer StatisticDuration ; 6 compute_output StatisticDuration
InferBatchStatistics
  1 batch_size uint64 ; 2 compute_input StatisticDuration ; 3 compute_infer StatisticDuration
  4 compute_output StatisticDuration
ModelStatistics
  1 name string ; 2 version string ; 3 last_inference uint64 ; 4 inference_count uint64
  5 execution_count uint64 ; 6 inference_stats InferStatistics ; 7 batch_stats InferBatchStatistics*
ModelStatisticsResponse
  1 model_stats ModelStatistics*
RepositoryIndexRequest
  1 repository_name string ; 2 ready bool
ModelIndex
  1 name string ; 2 version string ; 3 state string ; 4 reason string
RepositoryIndexResponse
  1 models ModelIndex*
"""
"""`NUMBER NAME TYPE`, repeated with `*`, a map from strings with `%`; `|` stands between the cases of a oneof."""

_DATA_TYPES: Final = (
    "INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "STRING", "BF16",
)  # fmt: skip
"""In the order of their numbers."""

_HEALTH: Final = """
HealthCheckRequest
  1 service string
HealthCheckResponse
  1 status int32
"""
SERVING: Final = 1
NOT_SERVING: Final = 2

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}


def _file(package: str, text: str) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"sealift/{package}.proto", package=package, syntax="proto3"
    )
    for line in text.strip().splitlines():
        if not line.startswith(" "):
            file.message_type.add(name=line)
            continue
        for part in line.split(";"):
            _add_fields(file.message_type[-1], package, part)
    return file


def _add_fields(message: Any, package: str, part: str) -> None:
    cases = part.split("|")
    if len(cases) > 1:
        message.oneof_decl.add(name="choice")
    for case in cases:
        number, name, kind = case.split()
        field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
        if len(cases) > 1:
            field.oneof_index = 0
        if kind.endswith(("*", "%")):
            field.label = _Field.LABEL_REPEATED
        bare = kind.rstrip("*%")
        if kind.endswith("%"):
            entry = message.nested_type.add(name=name.title() + "Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
            value = entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL)
            _set_type(value, package, bare)
            _set_type(field, package, f"{message.name}.{entry.name}")
        else:
            _set_type(field, package, bare)


def _set_type(field: Any, package: str, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type = _Field.TYPE_ENUM if kind == "DataType" else _Field.TYPE_MESSAGE
    field.type_name = f".{package}.{kind}"


def _inference_file() -> descriptor_pb2.FileDescriptorProto:
    file = _file("inference", _INFERENCE)
    types = file.enum_type.add(name="DataType")
    for number, name in enumerate(_DATA_TYPES):
        types.value.add(name=f"TYPE_{name}", number=number)
    return file


_POOL: Final = descriptor_pool.DescriptorPool()
for _described in (_inference_file(), _file("grpc.health.v1", _HEALTH)):
    _POOL.AddSerializedFile(_described.SerializeToString())


def _class(name: str) -> type[Any]:
    found: type[Message] = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))
    return found


InferRequest: Final = _class("inference.ModelInferRequest")
InferResponse: Final = _class("inference.ModelInferResponse")
ServerLive: Final = _class("inference.ServerLiveResponse")
ServerReady: Final = _class("inference.ServerReadyResponse")
ModelRequest: Final = _class("inference.ModelRequest")
ModelReady: Final = _class("inference.ModelReadyResponse")
ServerMetadata: Final = _class("inference.ServerMetadataResponse")
ModelMetadata: Final = _class("inference.ModelMetadataResponse")
ModelConfig: Final = _class("inference.ModelConfigResponse")
ModelStatistics: Final = _class("inference.ModelStatisticsResponse")
RepositoryIndexRequest: Final = _class("inference.RepositoryIndexRequest")
RepositoryIndex: Final = _class("inference.RepositoryIndexResponse")
HealthRequest: Final = _class("grpc.health.v1.HealthCheckRequest")
Health: Final = _class("grpc.health.v1.HealthCheckResponse")
