"""A network may name only files of its bundle for its weights, whatever a library would read."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import onnx
import pytest
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper
from probe import write_probe_bundle

from dgss_core.errors import DgssError
from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.bundle import EMBEDDED, MANIFEST, Bundle, open_bundle
from dgss_core.runtime.bundle.locations import locations_of

OUTSIDE = ('/etc/hostname', '../w.bin', 'sub/../../w.bin', 'other.bin', '', '*/_ORT_MEM_ADDR_/*')


def external(location: str) -> TensorProto:
    """A tensor whose values lie in the file `location`; the other entries stand around it."""
    tensor = TensorProto(name='w', data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (('offset', '0'), ('location', location), ('length', '8')):
        tensor.external_data.add(key=key, value=value)
    return tensor


def attribute(**values: object) -> AttributeProto:
    found = AttributeProto(name='a')
    for name, value in values.items():
        field = getattr(found, name)
        field.extend(value) if isinstance(value, list) else field.CopyFrom(value)
    return found


def node(*attributes: AttributeProto) -> onnx.NodeProto:
    made = helper.make_node('Identity', ['x'], ['y'])
    made.attribute.extend(attributes)
    return made


def sparse(location: str) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=TensorProto(name='v'), indices=external(location))


def nested(location: str, depth: int) -> GraphProto:
    graph = GraphProto(initializer=[external(location)])
    for _ in range(depth):
        graph = GraphProto(node=[node(attribute(g=graph))])
    return graph


PLACES: dict[str, Callable[[str], ModelProto]] = {
    'initializer': lambda where: ModelProto(graph=GraphProto(initializer=[external(where)])),
    'sparse': lambda where: ModelProto(graph=GraphProto(sparse_initializer=[sparse(where)])),
    'attribute': lambda where: ModelProto(
        graph=GraphProto(node=[node(), node(attribute(t=external(where)))])
    ),
    'attributes': lambda where: ModelProto(
        graph=GraphProto(node=[node(attribute(tensors=[TensorProto(), external(where)]))])
    ),
    'sparse attribute': lambda where: ModelProto(
        graph=GraphProto(node=[node(attribute(sparse_tensor=sparse(where)))])
    ),
    'sparse attributes': lambda where: ModelProto(
        graph=GraphProto(node=[node(attribute(sparse_tensors=[sparse(where)]))])
    ),
    'graph': lambda where: ModelProto(graph=nested(where, 20)),
    'graphs': lambda where: ModelProto(
        graph=GraphProto(node=[node(attribute(graphs=[nested(where, 1)]))])
    ),
    'function': lambda where: ModelProto(
        functions=[onnx.FunctionProto(node=[node(attribute(t=external(where)))])]
    ),
    'default of a function': lambda where: ModelProto(
        functions=[onnx.FunctionProto(attribute_proto=[attribute(t=external(where))])]
    ),
    'training': lambda where: ModelProto(
        training_info=[onnx.TrainingInfoProto(algorithm=nested(where, 0))]
    ),
}


@pytest.mark.parametrize('place', PLACES)
def test_a_location_is_found_wherever_a_tensor_may_stand(tmp_path: Path, place: str) -> None:
    path = tmp_path / 'model.onnx'
    path.write_bytes(PLACES[place]('weights/é.bin').SerializeToString())
    assert locations_of(path) == {'weights/é.bin'}


def relisted(folder: Path, network: bytes) -> Bundle:
    data = json.loads((folder / MANIFEST).read_text())
    (folder / 'model.onnx').write_bytes(network)
    data['sha256'] = sha256(network).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(data))
    return open_bundle(folder)


@pytest.mark.parametrize('location', OUTSIDE)
def test_a_network_with_weights_outside_its_bundle_reaches_no_library(
    tmp_path: Path, location: str
) -> None:
    bundle = relisted(
        write_probe_bundle(tmp_path / 'probe'), PLACES['initializer'](location).SerializeToString()
    )
    with (
        pytest.raises(DgssError, match='which is no file of its bundle; export') as error,
        bundle.checked_network(),
    ):
        pytest.fail('a library could load it')
    assert repr(location) in str(error.value)
    with pytest.raises(DgssError, match='which is no file of its bundle'):
        load_backend(bundle, 'onnxruntime', allow_unverified=True)


@pytest.mark.parametrize(
    'network',
    [
        b'',
        b'\x3a',
        b'\x3a\x05abc',
        b'\x3a\xff\xff\xff\xff\x7f',
        b'\x0f',
        b'\x80' * 20,
        b'\x0d\x00',
    ],
)
def test_what_is_no_network_is_said(tmp_path: Path, network: bytes) -> None:
    bundle = relisted(write_probe_bundle(tmp_path / 'probe'), network)
    with pytest.raises(DgssError, match='because it is no ONNX network'):
        load_backend(bundle, 'onnxruntime', allow_unverified=True)


def test_a_network_without_other_files_names_none() -> None:
    assert locations_of(EMBEDDED / 'model.onnx') == set()
