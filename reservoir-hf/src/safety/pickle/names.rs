//! Which imports of a pickle are trusted: a list of what may be, never of what may not.
//!
//! Allowed is what PyTorch's weights-only loader allows, what numpy's arrays and scalars need, and plain
//! containers. The list of dangerous names only makes a message graver; what is on neither is refused as well.

use super::super::report::Safety;

/// Raised with every change here or in the rules; a new one makes old verdicts stale.
pub(in super::super) const VERSION: &str = "1";

/// Modules with the names in them that may be imported.
const ALLOWED: &[(&str, &[&str])] = &[
    ("_codecs", &["encode"]),
    ("collections", &["Counter", "OrderedDict", "defaultdict", "deque"]),
    ("datetime", &["date", "datetime", "time", "timedelta", "timezone"]),
    ("numpy", &["dtype", "ndarray"]),
    ("numpy.core.multiarray", &["_reconstruct", "scalar"]),
    ("numpy._core.multiarray", &["_reconstruct", "scalar"]),
    ("numpy.core.numeric", &["_frombuffer"]),
    ("numpy._core.numeric", &["_frombuffer"]),
    (
        "torch",
        &["Size", "Tensor", "device", "per_tensor_affine", "per_channel_affine", "per_tensor_symmetric"],
    ),
    (
        "torch._utils",
        &[
            "_rebuild_device_tensor_from_cpu_tensor",
            "_rebuild_device_tensor_from_numpy",
            "_rebuild_meta_tensor_no_storage",
            "_rebuild_nested_tensor",
            "_rebuild_parameter",
            "_rebuild_parameter_with_state",
            "_rebuild_qtensor",
            "_rebuild_sparse_csr_tensor",
            "_rebuild_sparse_tensor",
            "_rebuild_tensor",
            "_rebuild_tensor_v2",
            "_rebuild_tensor_v3",
            "_rebuild_wrapper_subclass",
        ],
    ),
    ("torch._tensor", &["_rebuild_from_type_v2"]),
    ("torch.nn.parameter", &["Parameter"]),
    ("torch.serialization", &["_get_layout"]),
    ("torch.storage", &["TypedStorage", "UntypedStorage"]),
];

/// What `builtins` may give: constructors of plain values.
const BUILTINS: &[&str] = &[
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "range",
    "set",
    "slice",
    "str",
    "tuple",
];

/// The scalar types of `torch`, which are attributes of the module.
const TORCH_TYPES: &[&str] = &[
    "bfloat16",
    "bits8",
    "bool",
    "cdouble",
    "cfloat",
    "chalf",
    "complex128",
    "complex32",
    "complex64",
    "double",
    "float",
    "float16",
    "float32",
    "float64",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "half",
    "int",
    "int16",
    "int32",
    "int64",
    "int8",
    "long",
    "qint32",
    "qint8",
    "quint2x4",
    "quint4x2",
    "quint8",
    "short",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
];

/// Element types in the names of `torch.FloatStorage` and `torch.FloatTensor`.
const TORCH_ELEMENTS: &[&str] = &[
    "BFloat16",
    "Bool",
    "Byte",
    "Char",
    "ComplexDouble",
    "ComplexFloat",
    "Double",
    "Float",
    "Half",
    "Int",
    "Long",
    "QInt32",
    "QInt8",
    "QUInt2x4",
    "QUInt4x2",
    "QUInt8",
    "Short",
];

/// Top-level modules that run code, reach the system or load further code.
const DANGEROUS: &[&str] = &[
    "_aix_support",
    "_osx_support",
    "_pickle",
    "_posixsubprocess",
    "_pyrepl",
    "_socket",
    "_thread",
    "aiohttp",
    "antigravity",
    "asyncio",
    "bdb",
    "builtins",
    "__builtin__",
    "cProfile",
    "cPickle",
    "cloudpickle",
    "code",
    "codeop",
    "commands",
    "ctypes",
    "dill",
    "distutils",
    "doctest",
    "ensurepip",
    "ftplib",
    "functools",
    "http",
    "httplib",
    "httpx",
    "idlelib",
    "imaplib",
    "importlib",
    "inspect",
    "joblib",
    "lib2to3",
    "linecache",
    "logging",
    "marshal",
    "multiprocessing",
    "nt",
    "ntpath",
    "operator",
    "os",
    "pandas",
    "pathlib",
    "pdb",
    "pickle",
    "pickletools",
    "pip",
    "pkgutil",
    "platform",
    "poplib",
    "posix",
    "posixpath",
    "profile",
    "pty",
    "pydoc",
    "requests",
    "runpy",
    "setuptools",
    "shelve",
    "shutil",
    "signal",
    "site",
    "smtplib",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "sys",
    "sysconfig",
    "telnetlib",
    "tempfile",
    "test",
    "threading",
    "timeit",
    "torchvision",
    "trace",
    "types",
    "unittest",
    "urllib",
    "urllib2",
    "urllib3",
    "uuid",
    "venv",
    "webbrowser",
    "xmlrpc",
    "zipapp",
    "zipimport",
];

/// Names that are dangerous in modules that are not.
const DANGEROUS_NAMES: &[&str] = &[
    "_load_from_bytes",
    "eval",
    "exec",
    "execfile",
    "getattr",
    "load",
    "load_module",
    "loads",
    "popen",
    "system",
    "__import__",
    "import_module",
    "run",
    "runctx",
    "setattr",
];

/// What a pickle gets when it imports `name` from `module`.
pub(super) fn classify(module: &str, name: &str) -> Safety {
    let listed = ALLOWED.iter().any(|(known, names)| *known == module && names.contains(&name));
    if listed || is_plain(module, name) {
        return Safety::Innocuous;
    }
    let top = module.split('.').next().unwrap_or(module);
    let last = name.rsplit('.').next().unwrap_or(name);
    if DANGEROUS.contains(&top) || DANGEROUS_NAMES.contains(&last) {
        return Safety::Dangerous;
    }
    Safety::Suspicious
}

fn is_plain(module: &str, name: &str) -> bool {
    let element = |suffix| name.strip_suffix(suffix).is_some_and(|element| TORCH_ELEMENTS.contains(&element));
    match module {
        "builtins" | "__builtin__" => {
            BUILTINS.contains(&name) || module == "__builtin__" && matches!(name, "long" | "unicode")
        }
        "torch" => TORCH_TYPES.contains(&name) || element("Storage") || element("Tensor"),
        "torch.cuda" => element("Storage") || element("Tensor"),
        "torch.sparse" | "torch.cuda.sparse" => element("Tensor"),
        "numpy" => is_numpy_scalar(name),
        "numpy.dtypes" => name.strip_suffix("DType").is_some_and(|kind| {
            !kind.is_empty() && kind != "Object" && kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
        }),
        _ => false,
    }
}

fn is_numpy_scalar(name: &str) -> bool {
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_sized = matches!(kind, "int" | "uint" | "float" | "complex") && kind.len() < name.len();
    is_sized
        || matches!(name, "bool" | "bool_" | "str_" | "bytes_" | "datetime64" | "timedelta64" | "longdouble")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_whole() {
        let innocuous = [
            ("collections", "OrderedDict"),
            ("torch", "FloatStorage"),
            ("torch", "bfloat16"),
            ("torch._utils", "_rebuild_tensor_v2"),
            ("numpy", "float64"),
            ("numpy.dtypes", "Float32DType"),
            ("__builtin__", "set"),
        ];
        for (module, name) in innocuous {
            assert_eq!(classify(module, name), Safety::Innocuous, "{module}:{name}");
        }
        let others = [
            ("collections", "OrderedDict.fromkeys", Safety::Suspicious),
            ("collections", "namedtuple", Safety::Suspicious),
            ("torch", "load", Safety::Dangerous),
            ("torch.storage", "_load_from_bytes", Safety::Dangerous),
            ("torch", "Storage", Safety::Suspicious),
            ("numpy", "int", Safety::Suspicious),
            ("numpy.dtypes", "ObjectDType", Safety::Suspicious),
            ("builtins", "eval", Safety::Dangerous),
            ("os", "system", Safety::Dangerous),
            ("os.path", "join", Safety::Dangerous),
            ("sklearn.tree._tree", "Tree", Safety::Suspicious),
        ];
        for (module, name, safety) in others {
            assert_eq!(classify(module, name), safety, "{module}:{name}");
        }
    }
}
