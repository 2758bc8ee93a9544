"""Makes the corpus of the model-file scanner: make.py FOLDER.

FOLDER/flagged holds files that run or hide code when somebody loads them, FOLDER/clean what weights look like,
FOLDER/malformed broken safetensors and GGUF files. Nothing here is ever loaded, and payloads only name what they
would call. Python's standard library is all it needs, and the bytes are the same on every run.
"""

import bz2
import gzip
import io
import json
import lzma
import pathlib
import pickle
import random
import struct
import sys
import tarfile
import zipfile
import zlib

OUT = pathlib.Path(sys.argv[1])
RANDOM = random.Random(4)


def put(kind, name, data):
    folder = OUT / kind
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    assert not path.exists(), name
    path.write_bytes(data)


# ---------------------------------------------------------------- pickles, operation by operation


def s(text):
    """SHORT_BINUNICODE."""
    return b"\x8c" + bytes([len(text)]) + text.encode()


def x(text):
    """BINUNICODE, as protocols 2 and 3 write it."""
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def stack_global(module, name):
    return s(module) + s(name) + b"\x93"


def call(module, name, *arguments):
    """Protocol 2: a global called with strings."""
    body = b"".join(x(argument) for argument in arguments)
    return b"\x80\x02c%s\n%s\n(%stR." % (module.encode(), name.encode(), body)


class Reduced:
    """Pickles as a call, without naming anything that this script would have to import."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


PLAIN = b"cos\nsystem\n(S'true'\ntR."
EVIL = b"\x80\x04" + stack_global("posix", "system") + s("true") + b"\x85R."
HARMLESS = pickle.dumps({"a": [1, 2.5, None]}, protocol=4)

PICKLES = {
    "protocol-0": PLAIN,
    "protocol-0-unicode": b"cos\nsystem\n(Vtrue\ntR.",
    "protocol-0-windows": b"cnt\nsystem\n(S'true'\ntR.",
    "protocol-2": call("os", "system", "true"),
    "stack-global": EVIL,
    "undeclared-stack-global": stack_global("os", "system") + s("true") + b"\x85R.",
    "eval": call("builtins", "eval", "1"),
    "py2-eval": call("__builtin__", "eval", "1"),
    "inst": b"(S'true'\nios\nsystem\n.",
    "obj": b"\x80\x02(cos\nsystem\n" + x("true") + b"o.",
    "newobj": b"\x80\x02csubprocess\nPopen\n" + x("true") + b"\x85\x81.",
    "newobj-ex": b"\x80\x04" + stack_global("subprocess", "Popen") + b")}\x92.",
    "memoized-name": b"\x80\x04" + s("os") + b"\x94" + s("system") + b"\x940" + b"0h\x00h\x01\x93" + s("true") + b"\x85R.",
    "memo-put-name": b"\x80\x02" + x("os") + b"q\x070" + x("system") + b"q\x090h\x07h\x09\x93" + x("true") + b"\x85R.",
    "memo-confusion": b"\x80\x04"
    + s("collections") + b"q\x05\x94" + s("os") + b"\x94" + s("system") + b"\x94"
    + b"h\x01h\x02\x93" + s("true") + b"\x85R.",
    "nested-pickle": call("pickle", "loads", "x"),
    "second-pickle": HARMLESS + EVIL,
    "third-pickle": HARMLESS + b"N." + EVIL,
    "trailing-bytes": pickle.dumps([1, 2, 3]) + b"\xff\xfe\xfd garbage",
    "evil-then-garbage": EVIL + bytes(range(200, 256)),
    "truncated-after-reduce": EVIL[:-1],
    "truncated-after-import": b"\x80\x02cos\nsystem\n",
    "truncated-unknown": b"\x80\x02csomelib.util\nrun_it\n(",
    "broken-after-reduce": EVIL[:-1] + b"\xff\xff",
    "ext1": b"\x80\x02\x82\x01)R.",
    "ext2": b"\x80\x02\x83\x01\x01)R.",
    "ext4": b"\x80\x02\x84\x01\x01\x00\x00)R.",
    "ext1-undeclared": b"\x82\x01.",
    "persistent-id": b"\x80\x02Psome/path\n.",
    "binary-persistent-id": b"\x80\x02" + x("some/path") + b"Q.",
    "build-main": b"\x80\x02c__main__\nModel\n)\x81}" + x("a") + b"K\x01sb.",
    "build-on-class": b"\x80\x02ccollections\nOrderedDict\n}" + x("a") + b"K\x01sb.",
    "build-on-dict": b"\x80\x02}}" + x("a") + b"K\x01sb.",
    "import-module": call("importlib", "import_module", "os"),
    "marshal": call("marshal", "loads", "x"),
    "joblib-load": call("joblib", "load", "x"),
    "pandas-read-pickle": call("pandas", "read_pickle", "x"),
    "numpy-load": call("numpy", "load", "x"),
    "torch-load": call("torch", "load", "x"),
    "torch-load-from-bytes": call("torch.storage", "_load_from_bytes", "x"),
    "torch-hub": call("torch.hub", "load", "x"),
    "ctypes": call("ctypes", "CDLL", "x"),
    "unknown-library": call("somelib.helpers", "apply", "x"),
    "unknown-flat-library": call("somelib", "apply", "x"),
    "unknown-import-only": b"\x80\x02csomelib.helpers\nModel\n.",
    "getattr": call("builtins", "getattr", "os", "system"),
    "attrgetter": call("operator", "attrgetter", "system"),
    "partial": call("functools", "partial", "x"),
    "dotted-name": b"\x80\x04" + stack_global("collections", "OrderedDict.fromkeys") + s("a") + b"\x85R.",
    "computed-name": b"\x80\x04" + s("os") + stack_global("builtins", "str") + s("system") + b"\x85R\x93" + b")R.",
    "name-is-bytes": b"\x80\x04C\x02osC\x06system\x93)R.",
    "escaped-name": b"\x80\x04S'\\x6f\\x73'\nS'system'\n\x93" + s("true") + b"\x85R.",
    "escaped-unicode-name": b"\x80\x04V\\u006f\\u0073\nVsystem\n\x93" + s("true") + b"\x85R.",
    "long-binunicode-name": b"\x80\x04\x8d" + struct.pack("<Q", 2) + b"os" + s("system") + b"\x93" + s("true") + b"\x85R.",
    "non-ascii-name": b"\x80\x04" + b"\x8c\x03\xc7\xbas" + s("system") + b"\x93)R.",
    "name-with-space": b"\x80\x02cos \nsystem\n)R.",
    "calls-data": b"\x80\x02K\x01)R.",
    "calls-a-result": b"\x80\x02cbuiltins\ndict\n)R)R.",
    "next-buffer": b"\x80\x05\x97.",
    "lying-frame": b"\x80\x04\x95\x01\x00\x00\x00\x00\x00\x00\x00" + EVIL[2:],
    "huge-frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f" + EVIL[2:],
    "encode-other": call("_codecs", "encode", "x", "rot13"),
    "popped-result": EVIL[:-1] + b"0N.",
    "behind-a-long-string": b"\x80\x04X" + struct.pack("<I", 1 << 20) + b"x" * (1 << 20) + b"0" + EVIL[2:],
    "behind-many-values": b"\x80\x04]" + b"K\x01a" * 100_000 + b"0" + EVIL[2:],
    "empty-stack": b"\x80\x020000" + EVIL[2:],
    "sklearn": b"\x80\x04" + stack_global("sklearn.linear_model._base", "LinearRegression") + b")\x81}" + s("coef_") + b"K\x01sb.",
    "joblib-array": b"\x80\x04" + stack_global("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81}b" + bytes(64) + b".",
    "datetime-subclass": b"\x80\x04" + stack_global("datetime", "datetime.__init__") + b")R.",
}
for protocol in range(6):
    PICKLES[f"dumped-{protocol}"] = pickle.dumps({"w": Reduced(compile, "1", "x", "eval")}, protocol=protocol)
for name, data in PICKLES.items():
    put("flagged", name, data)


# ---------------------------------------------------------------- containers


def zip_of(members, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def tar_of(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zstd_of(data):
    """One frame of raw blocks."""
    blocks = [data[at : at + 60_000] for at in range(0, len(data), 60_000)]
    body = b"".join(
        struct.pack("<I", len(block) << 3 | (index + 1 == len(blocks)))[:3] + block for index, block in enumerate(blocks)
    )
    return b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(data)) + body


def lz4_of(data):
    """One frame of a stored block."""
    return b"\x04\x22\x4d\x18\x60\x40\x82" + struct.pack("<I", len(data) | 1 << 31) + data + bytes(4)


def npy_of(descr, data, shape="(3,)", version=1):
    header = "{'descr': %s, 'fortran_order': False, 'shape': %s, }" % (descr, shape)
    header = header.encode() + b" " * (63 - (len(header) + 10) % 64) + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + data


def torch_zip(members, folder="archive", crc=None, flags=0x0808):
    """As PyTorch's own writer has it: stored, aligned, sizes behind the data, a ZIP64 end."""
    out, central = b"", b""
    for name, data in members.items():
        path = f"{folder}/{name}".encode()
        padding = 64 - (len(out) + 30 + len(path) + 4) % 64
        extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
        check = zlib.crc32(data) if crc is None else crc
        offset = len(out)
        out += struct.pack("<4s5H3I2H", b"PK\3\4", 0, flags, 0, 0, 0, 0, 0, 0, len(path), len(extra)) + path + extra
        out += data + struct.pack("<4s3I", b"PK\7\x08", check, len(data), len(data))
        central += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 0, 0, flags, 0, 0, 0, check, len(data), len(data), len(path), 0, 0, 0, 0, 0, offset
        ) + path
    start, count = len(out), len(members)
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(central), start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + len(central), 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(central), start, 0)
    return out + central + end64 + locator + end


def state_dict(storage="FloatStorage", parameter=False, keys=3):
    """The `data.pkl` of a state dict, as PyTorch pickles it."""
    out = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01("
    for key in range(keys):
        out += x(f"layer.{key}.weight")
        if parameter:
            out += b"ctorch._utils\n_rebuild_parameter\n("
        out += b"ctorch._utils\n_rebuild_tensor_v2\n(("
        out += x("storage") + b"ctorch\n" + storage.encode() + b"\n" + x(str(key)) + x("cpu") + b"K\x10tQ"
        out += b"K\x00K\x04K\x04\x86K\x04K\x01\x86\x89ccollections\nOrderedDict\n)RtR"
        if parameter:
            out += b"\x88ccollections\nOrderedDict\n)RtR"
    out += b"u}" + x("_metadata") + b"ccollections\nOrderedDict\n)R(" + x("") + b"}" + x("version") + b"K\x01sussb."
    return out.replace(b"ussb.", b"usb.")


TORCH_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
TORCH_SYSTEM = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}, protocol=2)


def torch_legacy(main, raw):
    head = TORCH_MAGIC + b"\x80\x02M\xe9\x03." + TORCH_SYSTEM
    return head + main + pickle.dumps(["0", "1", "2"], protocol=2) + raw


def floats(count):
    return b"".join(struct.pack("<f", RANDOM.gauss(0, 0.02)) for _ in range(count))


def storages(count=3):
    return {f"data/{key}": floats(16) for key in range(count)}


def central_patched(archive, at, new):
    """The last entry of the central directory with bytes written over it."""
    entry = archive.rindex(b"PK\1\2")
    return archive[: entry + at] + new + archive[entry + at + len(new) :]


GOOD_TORCH = torch_zip({"data.pkl": state_dict(), **storages(), "version": b"3\n"})
EVIL_TORCH = torch_zip({"data.pkl": EVIL, **storages(), "version": b"3\n"})
KERAS = {"class_name": "Functional", "module": "keras.src.models", "config": {"layers": []}}
H5 = b"\x89HDF\r\n\x1a\n" + bytes(200) + b"model_config\0" + bytes(40)


def keras_of(layer):
    config = json.dumps({**KERAS, "config": {"layers": [layer]}})
    return zip_of({"metadata.json": b"{}", "config.json": config.encode(), "model.weights.h5": H5})


def gz(data):
    return gzip.compress(data, mtime=0)


def nested(depth, data):
    for _ in range(depth):
        data = gz(data)
    return data


member = zip_of({"x": EVIL})
orphan = torch_zip({"a": b"one", "b": EVIL})
first = orphan.index(b"PK\1\2")
second = orphan.index(b"PK\1\2", first + 1)
end64 = orphan.index(b"PK\6\6")
one = orphan[:second]
orphaned = one + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, second - first, first, 0)

CONTAINERS = {
    "zip-stored.pt": member,
    "zip-deflated.pt": zip_of({"x": EVIL}, zipfile.ZIP_DEFLATED),
    "zip-bzip2.pt": zip_of({"x": EVIL}, zipfile.ZIP_BZIP2),
    "zip-lzma.pt": zip_of({"x": EVIL}, zipfile.ZIP_LZMA),
    "zip-odd-name.pt": zip_of({"weights/readme": PLAIN}),
    "zip-second-member.pt": zip_of({"a": b"text", "b": EVIL}),
    "zip-bad-crc.pt": torch_zip({"data.pkl": EVIL}, crc=1),
    "zip-odd-flags.pt": torch_zip({"data.pkl": EVIL}, flags=0x0809),
    "zip-encrypted-flag.pt": central_patched(member, 8, b"\1\0"),
    "zip-orphan.pt": orphaned,
    "zip-other-method.pt": central_patched(zip_of({"x": b"text"}), 10, b"\x08\0"),
    "zip-other-name.pt": central_patched(zip_of({"x": b"text"}), 46, b"y"),
    "zip-other-offset.pt": central_patched(zip_of({"x": b"text"}), 42, b"\1\0\0\0"),
    "zip-other-size.pt": central_patched(zip_of({"x": b"text"}), 20, b"\3\0\0\0\3\0\0\0"),
    "zip-after-prefix.bin": b"some text first\n" + member,
    "zip-with-gap.pt": b"PK\3\4" + zip_of({"a": b"one"})[4:] + member,
    "zip-trailing.pt": zip_of({"x": b"text"}) + b"more",
    "zip-two.pt": zip_of({"x": b"text"}) + member,
    "torch.pt": EVIL_TORCH,
    "torch-forged-descriptor.pt": torch_zip(
        {"data.pkl": b"text" + struct.pack("<4s3I", b"PK\7\x08", 0, 4, 4) + EVIL, "version": b"3\n"}
    ),
    "torch-renamed.safetensors": EVIL_TORCH,
    "torch-in-tar.nemo": tar_of({"model_config.yaml": b"a: 1\n", "model_weights.ckpt": EVIL_TORCH}),
    "torch-in-tar-gz.nemo": gz(tar_of({"model_config.yaml": b"a: 1\n", "model_weights.ckpt": EVIL_TORCH})),
    "torch-legacy.pt": torch_legacy(EVIL, floats(32)),
    "torch-legacy-sixth.pt": torch_legacy(state_dict(), EVIL + floats(32)),
    "torch-whole-model.pt": torch_zip({"data.pkl": b"\x80\x02cmodels.net\nNet\n)\x81}b.", "version": b"3\n"}),
    "torchscript.pt": torch_zip({"data.pkl": b"\x80\x02}.", "code/__torch__.py": b"class Net(Module):\n", "version": b"3\n"}),
    "tar.pt": tar_of({"x": EVIL}),
    "tar-name-is-pickle.tar": tar_of({"cos\nsystem\n(S'true'\ntR.": b"text"}),
    "tar-goes-on.tar": tar_of({"x": b"text"}) + tar_of({"y": EVIL}),
    "joblib-gzip.pkl": gz(EVIL),
    "joblib-gzip-protocol-0": gz(PLAIN),
    "gzip-two-members": gz(HARMLESS) + gz(EVIL),
    "joblib-zlib.pkl": zlib.compress(EVIL),
    "joblib-zlib-broken.pkl": zlib.compress(EVIL + RANDOM.randbytes(60_000))[:-6] + b"xxxxxx",
    "zlib-trailing.pkl": zlib.compress(HARMLESS) + EVIL,
    "joblib-bz2.pkl": bz2.compress(EVIL),
    "joblib-xz.pkl": lzma.compress(EVIL),
    "joblib-lzma.pkl": lzma.compress(EVIL, format=lzma.FORMAT_ALONE),
    "lz4.pkl": lz4_of(EVIL),
    "zstd.pkl": zstd_of(EVIL),
    "object.npy": npy_of("'|O'", EVIL),
    "object-version-2.npy": npy_of("'|O'", EVIL, version=2),
    "object-field.npy": npy_of("[('a', '<f4'), ('b', '|O')]", EVIL),
    "object-odd-type.npy": npy_of("'object'", EVIL),
    "object.npz": zip_of({"arr_0.npy": npy_of("'|O'", EVIL)}),
    "plain-header-pickle-data.npy": npy_of("'<f4'", EVIL),
    "zip-in-deflated-zip.zip": zip_of({"inner.zip": member}, zipfile.ZIP_DEFLATED),
    "gzip-in-zip-in-tar.tar": tar_of({"a.zip": zip_of({"b.gz": gz(EVIL)})}),
    "xz-in-zstd-in-gzip": gz(zstd_of(lzma.compress(EVIL))),
    "seven-deep": nested(7, EVIL),
    "too-deep": nested(12, EVIL),
    "seven-zip.pt": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(60),
    "rar.pt": b"Rar!\x1a\x07\1\0" + bytes(60),
    "bomb.gz": gz(bytes(80 << 20)),
    "elf": b"\x7fELF\2\1\1" + bytes(100),
    "llamafile": b"MZqFpD='\n" + bytes(100),
    "keras-lambda.keras": keras_of({"class_name": "Lambda", "module": "keras.layers", "config": {}}),
    "keras-foreign.keras": keras_of({"class_name": "Net", "module": "evil.code", "config": {}}),
    "keras-lambda.h5": H5 + b'{"class_name": "Lambda", "config": {}}',
    "keras-lambda-compact.h5": H5 + b'{"class_name":"Lambda","config":{}}',
    "keras-escaped.h5": H5 + b'{"class_name": "\\u004cambda", "config": {}}',
    "keras-foreign.h5": H5 + b'{"module" : "evil.code", "class_name": "Net"}',
}
for name, data in CONTAINERS.items():
    put("flagged", name, data)


# ---------------------------------------------------------------- safetensors


def safetensors_of(header, data, length=None):
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def tensor(start, end, dtype="F32", shape=None):
    return {"dtype": dtype, "shape": [(end - start) // 4] if shape is None else shape, "data_offsets": [start, end]}


GOOD_SAFETENSORS = safetensors_of(
    {"__metadata__": {"format": "pt"}, "b": tensor(64, 128), "a": tensor(0, 64, shape=[4, 4])}, floats(32)
)
put("flagged", "safetensors-zip-tail.safetensors", GOOD_SAFETENSORS + member)
put("flagged", "safetensors-zip-in-data.safetensors", safetensors_of({"a": tensor(0, len(member), "U8", [len(member)])}, member))

a = '"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
SAFETENSORS = {
    "header-2-63": safetensors_of({"a": tensor(0, 4)}, bytes(4), 1 << 63),
    "header-over-limit": safetensors_of({"a": tensor(0, 4)}, bytes(4), 100_000_001),
    "header-longer-than-file": safetensors_of({"a": tensor(0, 4)}, bytes(4), 5000),
    "header-cut": safetensors_of({"a": tensor(0, 4)}, b"", 20),
    "no-json": safetensors_of(b'{"a": nonsense}', bytes(4)),
    "not-utf8": safetensors_of(b'{"\xff\xfe": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', bytes(4)),
    "two-values": safetensors_of(b"{%s} {}" % a.encode(), bytes(4)),
    "hole": safetensors_of({"a": tensor(0, 4), "b": tensor(8, 12)}, bytes(12)),
    "hole-at-start": safetensors_of({"a": tensor(4, 8)}, bytes(8)),
    "overlap": safetensors_of({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12)),
    "past-end": safetensors_of({"a": tensor(0, 400)}, bytes(4)),
    "data-left": safetensors_of({"a": tensor(0, 4)}, bytes(8)),
    "overflow": safetensors_of({"a": tensor(0, 4, shape=[1 << 40, 1 << 40])}, bytes(4)),
    "overflow-bits": safetensors_of({"a": tensor(0, 4, shape=[1 << 62])}, bytes(4)),
    "shape-lies": safetensors_of({"a": tensor(0, 4, shape=[2])}, bytes(4)),
    "negative-shape": safetensors_of({"a": tensor(0, 4, shape=[-1])}, bytes(4)),
    "backwards": safetensors_of({"a": {"dtype": "F32", "shape": [0], "data_offsets": [4, 0]}}, bytes(4)),
    "half-bytes": safetensors_of({"a": tensor(0, 1, "F4", [1])}, bytes(1)),
    "unknown-type": safetensors_of({"a": tensor(0, 4, "PICKLE", [4])}, bytes(4)),
    "duplicate-tensor": safetensors_of(b"{%s, %s}" % (a.encode(), a.encode()), bytes(4)),
    "duplicate-field": safetensors_of(
        b'{"a": {"dtype": "F32", "dtype": "I32", "shape": [1], "data_offsets": [0, 4]}}', bytes(4)
    ),
    "duplicate-metadata": safetensors_of(b'{"__metadata__": {}, "__metadata__": {}, %s}' % a.encode(), bytes(4)),
    "duplicate-metadata-key": safetensors_of(b'{"__metadata__": {"k": "1", "k": "2"}, %s}' % a.encode(), bytes(4)),
    "metadata-number": safetensors_of({"__metadata__": {"k": 1}, "a": tensor(0, 4)}, bytes(4)),
    "extra-field": safetensors_of({"a": {**tensor(0, 4), "run": "x"}}, bytes(4)),
    "deep": safetensors_of(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b""),
}
for name, data in SAFETENSORS.items():
    put("malformed", f"{name}.safetensors", data)


# ---------------------------------------------------------------- GGUF


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(value)) + value


def gguf_key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def gguf_tensor(name, dims, kind, offset):
    return text(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", kind, offset)


def gguf_of(keys, tensors, data=None, version=3, n_keys=None, n_tensors=None, alignment=32):
    head = struct.pack(
        "<4sI2Q",
        b"GGUF",
        version,
        len(tensors) if n_tensors is None else n_tensors,
        len(keys) if n_keys is None else n_keys,
    )
    head += b"".join(keys) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + (bytes(64) if data is None else data)


NAME = gguf_key("general.name", 8, text("tiny"))
TOKENS = gguf_key("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b"))
T0, T1 = gguf_tensor("a", [4, 2], 0, 0), gguf_tensor("b", [8], 0, 32)
huge = 1 << 62
GGUF = {
    "cut": gguf_of([NAME], [T0, T1])[:40],
    "data-cut": gguf_of([NAME], [T0, T1])[:-40],
    "too-many-tensors": gguf_of([NAME], [T0, T1], n_tensors=huge),
    "too-many-keys": gguf_of([NAME], [T0, T1], n_keys=huge),
    "long-key": gguf_of([struct.pack("<Q", huge) + b"k"], [T0, T1]),
    "long-string": gguf_of([text("k") + struct.pack("<IQ", 8, huge)], [T0, T1]),
    "long-array": gguf_of([gguf_key("k", 9, struct.pack("<IQ", 4, huge))], [T0, T1]),
    "deep-array": gguf_of([gguf_key("k", 9, struct.pack("<IQ", 9, 1) * 100)], [T0, T1]),
    "unknown-value": gguf_of([gguf_key("k", 77, bytes(8))], [T0, T1]),
    "duplicate-key": gguf_of([NAME, NAME], [T0, T1]),
    "duplicate-tensor": gguf_of([NAME], [T0, gguf_tensor("a", [8], 0, 32)]),
    "long-tensor-name": gguf_of([NAME], [gguf_tensor("a" * 65, [8], 0, 0)], bytes(32)),
    "alignment-three": gguf_of([gguf_key("general.alignment", 4, struct.pack("<I", 3))], [T0, T1]),
    "alignment-zero": gguf_of([gguf_key("general.alignment", 4, struct.pack("<I", 0))], [T0, T1]),
    "alignment-text": gguf_of([gguf_key("general.alignment", 8, text("32"))], [T0, T1]),
    "five-dimensions": gguf_of([NAME], [gguf_tensor("a", [1, 1, 1, 1, 8], 0, 0)], bytes(32)),
    "overflow": gguf_of([NAME], [gguf_tensor("a", [1 << 40, 1 << 40], 0, 0)]),
    "offset-unaligned": gguf_of([NAME], [T0, gguf_tensor("b", [8], 0, 33)]),
    "offset-past-end": gguf_of([NAME], [T0, gguf_tensor("b", [8], 0, 1 << 40)]),
    "offset-overflow": gguf_of([NAME], [T0, gguf_tensor("b", [8], 0, (1 << 64) - 32)]),
    "overlap": gguf_of([NAME], [T0, gguf_tensor("b", [8], 0, 0)]),
    "half-a-block": gguf_of([NAME], [gguf_tensor("a", [8], 2, 0)]),
    "trailing": gguf_of([NAME], [T0, T1], bytes(4096)),
}
for name, data in GGUF.items():
    put("malformed", f"{name}.gguf", data)
put("flagged", "gguf-zip-tail.gguf", gguf_of([NAME], [T0, T1]) + member)
put("flagged", "gguf-version-9.gguf", gguf_of([NAME], [T0, T1], version=9))
put("flagged", "gguf-unknown-tensor-type.gguf", gguf_of([NAME], [gguf_tensor("a", [8], 99, 0)], bytes(32)))


# ---------------------------------------------------------------- what weights look like


def numpy_pickle(protocol):
    """An array as numpy pickles it."""
    core = b"numpy.core.multiarray"
    if protocol == 2:
        return (
            b"\x80\x02c" + core + b"\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02c_codecs\nencode\nq\x03"
            + x("b") + x("latin1") + b"\x86q\x06Rq\x07\x87q\x08Rq\x09(K\x01K\x03\x85q\x0acnumpy\ndtype\nq\x0b"
            + x("f8") + b"\x89\x88\x87q\x0dRq\x0e(K\x03" + x("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x10b\x89"
            + b"h\x03" + x("0123456789ab") + x("latin1") + b"\x86Rtq\x14b."
        )
    return (
        b"\x80\x04\x95\x00\x01\x00\x00\x00\x00\x00\x00" + stack_global(core.decode(), "_reconstruct") + b"\x94"
        + stack_global("numpy", "ndarray") + b"\x94K\x00\x85\x94C\x01b\x94\x87\x94R\x94(K\x01K\x03\x85\x94"
        + stack_global("numpy", "dtype") + b"\x94" + s("f4") + b"\x94\x89\x88\x87\x94R\x94(K\x03" + s("<")
        + b"\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94b\x89C\x0c" + bytes(12) + b"\x94t\x94b."
    )


CLEAN = {
    "torch-state-dict.pt": GOOD_TORCH,
    "torch-parameters.bin": torch_zip({"data.pkl": state_dict("BFloat16Storage", True), **storages(), "byteorder": b"little", "version": b"3\n"}),
    "torch-many.pt": torch_zip({"data.pkl": state_dict(keys=200), **storages(200), "version": b"3\n"}, folder="pytorch_model"),
    "torch-bad-crc.pt": torch_zip({"data.pkl": state_dict(), **storages(), "version": b"3\n"}, crc=7),
    "torch-python-zip.pt": zip_of({"archive/data.pkl": state_dict(), "archive/data/0": floats(16)}),
    "torch-legacy.pth": torch_legacy(state_dict(), struct.pack("<Q", 16) + floats(16)),
    "nemo.tar": tar_of({"model_config.yaml": b"model: tiny\n", "model_weights.ckpt": GOOD_TORCH}),
    "nemo.tar.gz": gz(tar_of({"model_config.yaml": b"model: tiny\n", "model_weights.ckpt": GOOD_TORCH})),
    "torch-in-deflated-zip.zip": zip_of({"model/model.pt": GOOD_TORCH}, zipfile.ZIP_DEFLATED),
    "array.npy": npy_of("'<f4'", floats(3)),
    "array-version-2.npy": npy_of("'<f8'", bytes(24), version=2),
    "structured.npy": npy_of("[('a', '<f4'), ('b', '<i8', (2,))]", bytes(60)),
    "arrays.npz": zip_of({"a.npy": npy_of("'<f4'", floats(3)), "b.npy": npy_of("'|u1'", bytes(3))}),
    "arrays-compressed.npz": zip_of({"a.npy": npy_of("'<f4'", floats(3))}, zipfile.ZIP_DEFLATED),
    "numpy-protocol-2.pkl": numpy_pickle(2),
    "numpy-protocol-4.pkl": numpy_pickle(4),
    "numpy-pickle.pkl.gz": gz(numpy_pickle(4)),
    "model.safetensors": GOOD_SAFETENSORS,
    "empty.safetensors": safetensors_of(b"{}      ", b""),
    "zero-sized.safetensors": safetensors_of({"a": tensor(0, 0, shape=[0, 4]), "b": tensor(0, 4)}, bytes(4)),
    "four-bits.safetensors": safetensors_of({"a": tensor(0, 1, "F4", [2])}, bytes(1)),
    "safetensors-in-zip.zip": zip_of({"model.safetensors": GOOD_SAFETENSORS}),
    "model.gguf": gguf_of([NAME, TOKENS], [T0, T1]),
    "quantized.gguf": gguf_of([NAME], [gguf_tensor("a", [32, 2], 2, 0)], bytes(36 + 28)),
    "aligned-64.gguf": gguf_of(
        [gguf_key("general.alignment", 4, struct.pack("<I", 64))],
        [gguf_tensor("a", [4, 2], 0, 0), gguf_tensor("b", [8], 0, 64)],
        bytes(128),
        alignment=64,
    ),
    "only-vocabulary.gguf": gguf_of([NAME, TOKENS], [], b""),
    "model.keras": keras_of({"class_name": "Dense", "module": "keras.layers", "config": {"units": 3}}),
    "model.h5": H5 + b'{"class_name": "Sequential", "config": {"layers": [{"module": "keras.layers", "class_name": "Dense"}]}}',
    "weights.h5": H5,
    "noise.bin": RANDOM.randbytes(1 << 20),
    "floats.bin": floats(50_000),
    "zeros.bin": bytes(100_000),
    "README.md": b"# Tiny\n\nA model.\n",
    "labels.txt": b"cat\ndog\n",
    "vocab.txt": b"[PAD]\n[UNK]\ncat\ndog\nIn\ncan\ndo\nR\n",
    "words.txt": b"cat\ndog\nRabbit\nbird\n.\n",
    "merges.txt": b"#version: 0.2\nt h\ni n\n",
    "config.json": json.dumps({"model_type": "tiny", "auto_map": {"AutoModel": "model.Net"}}).encode(),
    "tokenizer.json": json.dumps({"model": {"vocab": {"a": 0}}}).encode(),
    "data.json.gz": gz(b'{"a": 1}'),
    "data.txt.zst": zstd_of(b"some text\n" * 5000),
    "data.txt.lz4": lz4_of(b"some text\n" * 50),
    "data.txt.xz": lzma.compress(b"some text\n" * 50),
    "data.txt.bz2": bz2.compress(b"some text\n" * 50),
    "empty": b"",
    "one-byte": b"\x80",
    "folder.zip": zip_of({"a/": b"", "a/b.txt": b"text"}),
}
for protocol in range(6):
    value = {"a": [1, 2.5, None, True, (3, "x"), b"bytes"], "b": {"c": "d" * 300, "e": 1 << 70}, "f": {1, 2}}
    CLEAN[f"values-{protocol}.pkl"] = pickle.dumps(value, protocol=protocol)
for name, data in CLEAN.items():
    put("clean", name, data)
for index in range(300):
    put("noise", str(index), RANDOM.randbytes(4096))
    put("noise", f"{index}-declared", b"\x80" + bytes([2 + index % 4]) + RANDOM.randbytes(4096))
