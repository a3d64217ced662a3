"""Ways in which a file, a checkpoint folder or a config can be damaged or malicious."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file

Mutation = Callable[[Path, random.Random], str]
"""Changes something in a folder or file; returns what, in words."""

STRANGE: tuple[Any, ...] = (
    *(None, True, "", "x" * 1000, [], {}, [[]], -1, 0, 1, 2**31, 2**63, 10**30, -(10**30)),
    *(0.5, -0.0, 1e308, float("nan"), float("inf"), "nan", "1e999", "../../etc/passwd", "\0"),
    *("\x1b]0;owned\x07\x1b[2J", "two\nlines", "\u202e", "\ud800", "a|b"),
)
"""Values to put in the place of others."""


# --- any file ------------------------------------------------------------------------------------


def flip_bits(path: Path, moments: random.Random) -> str:
    """One to eight bits of a file."""
    content = bytearray(path.read_bytes())
    places = moments.sample(range(8 * len(content)), moments.randint(1, 8))
    for place in places:
        content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)
    return f"bits {places} of {path.name}"


def flip_header_bits(path: Path, moments: random.Random) -> str:
    """One bit among the first 400 bytes, where the names and shapes are."""
    content = bytearray(path.read_bytes())
    place = moments.randrange(8 * min(400, len(content)))
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)
    return f"bit {place} of {path.name}"


def truncate(path: Path, moments: random.Random) -> str:
    """Any part of it is missing at the end."""
    size = moments.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"{path.name} cut to {size} bytes"


def append(path: Path, moments: random.Random) -> str:
    """Something comes after its end."""
    tail = moments.randbytes(moments.randint(1, 1000))
    with path.open("ab") as file:
        file.write(tail)
    return f"{len(tail)} bytes after the end of {path.name}"


def splice(path: Path, moments: random.Random) -> str:
    """A part of it is repeated somewhere else."""
    content = path.read_bytes()
    start, place = moments.randrange(len(content)), moments.randrange(len(content))
    part = content[start : start + moments.randint(1, 200)]
    path.write_bytes(content[:place] + part + content[place:])
    return f"{len(part)} bytes of {path.name} repeated at {place}"


def noise(path: Path, moments: random.Random) -> str:
    """Random bytes instead."""
    path.write_bytes(moments.randbytes(moments.randint(0, 10_000)))
    return f"{path.name} is noise"


def grow(path: Path, moments: random.Random) -> str:
    """A hole of up to 64 GB that takes no space on the disk."""
    size = moments.choice([2**30, 2**33, 2**36])
    os.truncate(path, size)
    return f"{path.name} has {size} bytes"


def huge_header(path: Path, moments: random.Random) -> str:
    """A length at its beginning (that of a safetensors header) that is beyond all measure."""
    length = moments.choice([2**24, 2**32, 2**63, 2**64 - 1])
    with path.open("r+b") as file:
        file.write(length.to_bytes(8, "little"))
    return f"{path.name} begins with the length {length}"


def delete(path: Path, _: random.Random) -> str:
    """It is missing."""
    path.unlink()
    return f"{path.name} is missing"


def link(path: Path, moments: random.Random) -> str:
    """A link to itself, to somewhere else, or to something without an end."""
    target = moments.choice(
        [path.name, "/etc/passwd", "/dev/zero", "../../../../etc/hostname", "/"]
    )
    path.unlink()
    path.symlink_to(target)
    return f"{path.name} is a link to {target}"


def pipe(path: Path, _: random.Random) -> str:
    """A pipe that nobody writes to."""
    path.unlink()
    os.mkfifo(path)
    return f"{path.name} is a pipe"


def folder(path: Path, _: random.Random) -> str:
    """A folder of the same name."""
    path.unlink()
    path.mkdir()
    return f"{path.name} is a folder"


FILE: tuple[Mutation, ...] = (
    *(flip_bits, flip_header_bits, truncate, append, splice, noise),
    *(grow, huge_header, delete, link, pipe, folder),
)


# --- tensors -------------------------------------------------------------------------------------


KINDS = (
    *("rename", "remove", "add", "flat", "longer", "shorter", "dtype"),
    *("fill", "one value", "random"),
)


def change_tensors(path: Path, moments: random.Random) -> str:
    """Another name, shape, dtype, or values in a safetensors file."""
    tensors = load_file(path)
    name = moments.choice(sorted(tensors))
    tensor = tensors[name]
    kind = moments.choice(KINDS)
    if kind == "rename":
        tensors[f"{name}.{moments.choice(['x', '0', '', '..', '/'])}"] = tensors.pop(name)
    elif kind == "remove":
        del tensors[name]
    elif kind == "add":
        tensors[moments.choice(["model.x", "optimizer.actor.step", "x", "envs.goal2"])] = (
            torch.ones(3)
        )
    elif kind == "flat":
        tensors[name] = tensor.flatten().clone()
    elif kind == "longer":
        tensors[name] = torch.cat([tensor.flatten()] * 2)
    elif kind == "shorter":
        tensors[name] = tensor[: len(tensor) // 2].clone() if tensor.dim() else tensor.repeat(0)
    elif kind == "dtype":
        to = moments.choice([torch.float64, torch.int64, torch.uint8, torch.bool, torch.bfloat16])
        tensors[name] = tensor.to(to)
    else:
        values = [0, 1, -1, 127, 2**31 - 1, -(2**31), 2**62, 1e30, float("nan"), float("inf")]
        kind = f"{kind} {_overwrite(tensor, kind, moments.choice(values), moments)}"
    save_file(tensors, path)
    return f"{kind} {name} in {path.name}"


def _overwrite(tensor: torch.Tensor, kind: str, value: float, moments: random.Random) -> float:
    if kind == "random":
        content = np.frombuffer(moments.randbytes(tensor.nbytes), np.uint8)
        tensor.flatten().view(torch.uint8)[:] = (
            torch.from_numpy(content.copy()) if tensor.nbytes else 0
        )
        if tensor.dtype == torch.bool:
            tensor.copy_(torch.from_numpy(content.copy()).view(tensor.shape) > 127)
        return value
    if not tensor.is_floating_point():
        info = (
            (0, 1)
            if tensor.dtype == torch.bool
            else (torch.iinfo(tensor.dtype).min, torch.iinfo(tensor.dtype).max)
        )
        value = int(min(max(value if np.isfinite(value) else 0, info[0]), info[1]))
    if kind == "fill" or not tensor.numel():
        tensor.fill_(value)
    else:
        tensor.view(-1)[moments.randrange(tensor.numel())] = value
    return value


# --- JSON and YAML -------------------------------------------------------------------------------


def change_json(path: Path, moments: random.Random) -> str:
    """A value, a key or the nesting somewhere in a JSON document."""
    document = json.loads(path.read_text(encoding="utf-8"))
    what = change_tree(document, moments)
    path.write_text(json.dumps(document), encoding="utf-8")
    return f"{path.name}: {what}"


def change_yaml(path: Path, moments: random.Random) -> str:
    """A value, a key or the nesting somewhere in a YAML document."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    what = change_tree(document, moments)
    try:
        text = yaml.safe_dump(document)
    except RecursionError:  # JSON is YAML
        text = json.dumps(document)
    path.write_text(text, encoding="utf-8")
    return f"{path.name}: {what}"


NAMES = ("x", "", "seed", "__class__", *(value for value in STRANGE if isinstance(value, str)))


def change_tree(tree: Any, moments: random.Random) -> str:
    """Change one place of nested dicts and lists."""
    places = list(_places(tree))
    parent, key = moments.choice(places)
    kind = moments.choice(["value", "value", "value", "remove", "rename", "nest", "copy"])
    if kind == "remove":
        del parent[key]
    elif kind == "rename" and isinstance(parent, dict):
        parent[moments.choice(NAMES)] = parent.pop(key)
    elif kind == "nest":
        for _ in range(moments.choice([1, 50, 500])):
            parent[key] = [parent[key]]
    elif kind == "copy":
        other, name = moments.choice(places)
        if name in other if isinstance(other, dict) else name < len(other):
            parent[key] = json.loads(json.dumps(other[name]))
    else:
        parent[key] = moments.choice(STRANGE)
    return f"{kind} at {key}"


def _places(tree: Any) -> Any:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


TAGS = (
    "!!python/object/apply:os.system ['touch owned']",
    "!!python/name:os.system",
    "!!python/tuple [1, 2]",
    "!!timestamp 0000-99-99",
    "!!binary ????",
    "!!int ''",
    "!!float x",
    "!!omap [1]",
    "!!set {a: 1}",
    "!<tag:yaml.org,2002:int> 1e9",
    "!unknown 1",
)
"""YAML values that ask for a type of their own."""


def odd_text(path: Path, moments: random.Random) -> str:
    """Nothing but brackets, aliases that multiply, or a tag."""
    depth = moments.choice([100, 10_000, 400_000])
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]\n"
        for i in range(1, 12)
    )
    text, what = moments.choice(
        [
            ("[" * depth, "["),
            ('{"a":' * depth, "{"),
            ("- " * depth, "-"),
            (bomb, "aliases"),
            ("&a [*a]", "a loop"),
            ("? " * depth, "?"),
            *((f"seed: {tag}", tag) for tag in TAGS),
        ]
    )
    path.write_text(text, encoding="utf-8")
    return f"{path.name} is {what}, {depth} deep"
