"""JSON as Lambda's Python runtime reads and writes it, without importing `json`, whose regular expressions take longer
to load than this whole runtime.

The interpreter's own scanner and encoder (`_json`) do the work. Whatever they refuse is done again the long way, which
also makes the error that the function sees. Lambda encodes with simplejson (read for facts, 3.20): Decimals are written
as their digits, named tuples as objects, bytes as text; from Python 3.12 on, text outside ASCII stays as it is.
"""

import marshal
import sys

try:
    import _json
except ImportError:
    _json = None


# === reading


def _constant(name):
    return {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}[name]


class _Settings:
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_constant)
    memo = None


try:
    _scan = _json.make_scanner(_Settings)
    if _scan('{"a": [1, 2.5, "x", null, true]}', 0) != ({"a": [1, 2.5, "x", None, True]}, 32):
        _scan = None
except Exception:
    _scan = None


def loads(data):
    """The value of a JSON document in bytes, or a view of bytes. Raises what `json.loads` raises."""
    if _scan is not None:
        try:
            text = str(data, "utf-8")
            value, end = _scan(text, 0)
            if end == len(text):
                return value
        except Exception:
            pass
    import json

    return json.loads(bytes(data))


# === writing

_ASCII = sys.version_info < (3, 12)


class _NotPlain(Exception):
    pass


def _refuse(value):
    raise _NotPlain


try:
    _escape = _json.encode_basestring_ascii if _ASCII else _json.encode_basestring
    _encode = _json.make_encoder(None, _refuse, _escape, None, ": ", ", ", False, False, True)
    if "".join(_encode({"a": [1, 2.5, "x", None, True]}, 0)) != '{"a": [1, 2.5, "x", null, true]}':
        _encode = None
except Exception:
    _encode = None


def dumps(value):
    """The JSON text of a value. Raises TypeError or ValueError with the texts of simplejson."""
    if _encode is not None:
        try:
            # The encoder takes a named tuple for a list. `marshal` knows plain values only and is a hundred times faster
            # than looking at each of them here.
            marshal.dumps(value, 2)
            return "".join(_encode(value, 0))
        except (_NotPlain, TypeError, ValueError, RecursionError):
            pass
    parts = []
    _write(value, parts.append, set())
    return "".join(parts)


def _text(value):
    if _json is not None:
        return (_json.encode_basestring_ascii if _ASCII else _json.encode_basestring)(value)
    import json

    return json.dumps(value, ensure_ascii=_ASCII)


def _number(value):
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return float.__repr__(value)


def _decimal(value):
    """The digits of a Decimal; None for anything else. Whoever has one has imported the module."""
    module = sys.modules.get("decimal")
    if module is None or not isinstance(value, module.Decimal):
        return None
    return "NaN" if value.is_nan() else str(value)


def _write(value, put, above):
    if value is None or value is True or value is False:
        put({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, str):
        put(_text(str(value) if type(value) is str else str.__str__(value)))
    elif isinstance(value, bytes):
        put(_text(value.decode()))
    elif isinstance(value, int):
        put(int.__repr__(value))
    elif isinstance(value, float):
        put(_number(value))
    else:
        if id(value) in above:
            raise ValueError("Circular reference detected")
        above.add(id(value))
        _write_compound(value, put, above)
        above.discard(id(value))


def _write_compound(value, put, above):
    as_dict = getattr(value, "_asdict", None)
    if isinstance(value, dict) or callable(as_dict):
        put("{")
        separator = ""
        for key, item in (value if isinstance(value, dict) else as_dict()).items():
            put(separator + _text(_key(key)) + ": ")
            _write(item, put, above)
            separator = ", "
        put("}")
    elif isinstance(value, (list, tuple)):
        put("[")
        separator = ""
        for item in value:
            put(separator)
            _write(item, put, above)
            separator = ", "
        put("]")
    else:
        digits = _decimal(value)
        if digits is None:
            raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)
        put(digits)


def _key(key):
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return key.decode()
    if key is None or key is True or key is False:
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, int):
        return int.__repr__(key)
    if isinstance(key, float):
        return _number(key)
    raise TypeError("keys must be str, int, float, bool or None, not %s" % type(key).__name__)
