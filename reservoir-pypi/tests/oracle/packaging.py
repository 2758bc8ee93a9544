"""Answers from `packaging`, the library that pip itself decides with. One question on stdin, one answer on stdout."""

import json
import sys

try:
    from pip._vendor.packaging import _manylinux, markers, specifiers, tags, utils, version
except ImportError:
    from packaging import _manylinux, markers, specifiers, tags, utils, version


def linux(minor, arch):
    _manylinux._get_glibc_version = lambda: (2, minor)
    _manylinux._is_compatible = lambda *_: True
    _manylinux._have_compatible_abi = lambda *_: True
    try:
        found = list(_manylinux.platform_tags([arch]))
    except TypeError:  # before packaging 24
        found = list(_manylinux.platform_tags(f"linux_{arch}", arch))
    return [*found, f"linux_{arch}"]


def platforms(target):
    kind, arch = target["kind"], target.get("arch")
    if kind == "manylinux":
        return linux(target["minor"], arch)
    if kind == "musllinux":
        return [*(f"musllinux_1_{m}_{arch}" for m in range(target["minor"], -1, -1)), f"linux_{arch}"]
    if kind == "macosx":
        return list(tags.mac_platforms((target["major"], target["minor"]), arch))
    return [target["tag"]]


def supported(target):
    python, threaded = (3, target["python"]), target["threaded"]
    interpreter = f"cp3{target['python']}"
    known = platforms(target)
    abis = [interpreter + ("t" if threaded else "")]
    found = [
        *tags.cpython_tags(python, abis, known),
        *tags.compatible_tags(python, interpreter, known),
    ]
    # Before packaging 24 free-threaded builds were offered abi3, which they cannot load.
    return [str(tag) for tag in found if not (threaded and tag.abi == "abi3")]


def wheel(name):
    try:
        project, number, build, found = utils.parse_wheel_filename(name)
    except Exception:
        return None
    return [project, str(number), list(build), sorted(map(str, found))]


def contains(pair):
    try:
        return specifiers.SpecifierSet(pair[0]).contains(version.Version(pair[1]), prereleases=True)
    except Exception:
        return None


def normal(text):
    try:
        return str(version.Version(text))
    except Exception:
        return None


def marker(pair):
    try:
        return markers.Marker(pair[0]).evaluate({"extra": "", **pair[1]})
    except Exception:
        return None


def best(case):
    """The file pip would install: the first supported tag, then the highest build."""
    order = {tag: rank for rank, tag in enumerate(supported(case["target"]))}
    fitting = []
    for name in case["wheels"]:
        read = wheel(name)
        ranks = [order[tag] for tag in read[3] if tag in order] if read else []
        if ranks:
            fitting.append((-min(ranks), read[2], name))
    return max(fitting)[2] if fitting else None


ANSWERS = {
    "best": best,
    "tags": supported,
    "wheels": wheel,
    "contains": contains,
    "normal": normal,
    "sorted": lambda versions: sorted(versions, key=version.Version),
    "markers": marker,
}

question = json.load(sys.stdin)
json.dump({key: [ANSWERS[key](item) for item in items] for key, items in question.items()}, sys.stdout)
