"""`view:` of a source: the database view its rows come from, strictly read."""

from __future__ import annotations

from ..model.view import DRIVERS, Claim, View
from .strict_yaml import Yaml, near_to

VIEW_KEYS = frozenset(
    {
        "driver", "host", "port", "database", "user", "password_env", "password_file", "options",
        "name", "columns", "key", "changed", "since", "overlap", "page_rows", "every_s", "timeout_s", "claim",
    }
)  # fmt: skip
CLAIM_KEYS = frozenset({"column", "open", "taken"})
NUMBERS = {
    "port": (0, 65535),
    "overlap": (0, 10**9),
    "page_rows": (1, 5000),
    "every_s": (1, 86400),
    "timeout_s": (1, 3600),
}
"""Keys that hold a number: the least and the most."""
_OURS = "GATEWAY_"


def view_of(node: Yaml | None, format_: str) -> View | None:
    """The view of a source, None when it has none. Raises MappingError with file and line."""
    if node is None:
        return None
    if format_ != "csv":
        zh = f"view 只用于 format: csv 的来源，这里是 {format_}：视图的行按 CSV 读。"
        raise node.error(f"a view is read as CSV, but the format is {format_}", zh)
    if (secret := node.get("password")) is not None:
        zh = "口令不写在映射里：请存进只有网关可读的文件，写 password_file；或放进环境变量，写 password_env。"
        raise secret.error("no password in a mapping: name a file or an environment variable", zh)
    node.fields(VIEW_KEYS)
    known = View(
        driver=_driver(node),
        database=_needed(node, "database", "数据库名；sqlite 是文件路径，oracle 是服务名"),
        name=_needed(node, "name", "视图或表的名字"),
        key=node.words("key"),
        host=node.word("host"),
        user=node.word("user"),
        password_env=node.word("password_env"),
        password_file=node.word("password_file"),
        options=_options(node.get("options")),
        columns=_columns(node.get("columns")),
        changed=node.word("changed"),
        since=node.word("since"),
        claim=_claim(node.get("claim")),
        **{name: _number(node, name) for name in NUMBERS},
    )
    _check(node, known)
    return known


def _driver(node: Yaml) -> str:
    found = _needed(node, "driver", f"数据库的种类：{'、'.join(DRIVERS)}")
    if found not in DRIVERS:
        where = node.fields()["driver"]
        raise where.unknown(
            found, DRIVERS, f"no driver {found!r}", f"没有 driver {found!r}，可用：{'、'.join(DRIVERS)}"
        )
    return found


def _needed(node: Yaml, key: str, what: str) -> str:
    found = node.word(key)
    if not found:
        raise node.error(f"a view needs {key}", f"view 缺 {key}：{what}。")
    return found


def _number(node: Yaml, key: str) -> int:
    """One of NUMBERS, or its default."""
    found = node.get(key)
    if found is None:
        return int(getattr(View("", "", "", ()), key))
    least, most = NUMBERS[key]
    text = found.text()
    if not (text.isdecimal() and len(text) < 11 and least <= int(text) <= most):
        zh = f"{key} 写的是 {text!r}，应是 {least} 到 {most} 的整数。"
        raise found.error(f"{key} is {text!r}; it must be a whole number from {least} to {most}", zh)
    return int(text)


def _options(node: Yaml | None) -> dict[str, str]:
    made = {key: value.text() for key, value in node.fields().items()} if node else {}
    for key in made:
        if node and any(word in key.lower() for word in ("pass", "pwd", "secret")):
            zh = f"options 里不能有口令（{key}）：请用 password_file 或 password_env。"
            raise node.fields()[key].error(f"no password in options: {key}", zh)
    return made


def _columns(node: Yaml | None) -> dict[str, str]:
    """`[门诊号, 卡号]`, or `{MZH: 门诊号, KH: 卡号}` to rename."""
    if node is None:
        return {}
    if isinstance(node.value, dict):
        made = {column: heading.text() for column, heading in node.fields().items()}
    else:
        made = {one.text(): one.text() for one in node.items()}
    twice = next((one for one in made.values() if list(made.values()).count(one) > 1), "")
    if twice or (isinstance(node.value, list) and len(made) < len(node.value)):
        raise node.error(f"a column twice: {twice}", f"columns 里有重复的列{f'：{twice}' if twice else ''}。")
    return made


def _claim(node: Yaml | None) -> Claim | None:
    if node is None:
        return None
    node.fields(CLAIM_KEYS)
    if not node.word("column") or not node.word("taken"):
        zh = "claim 要写 column（取走标记的列）和 taken（取走后写成什么）；open 是取走前的值，不写为 NULL。"
        raise node.error("claim needs column and taken", zh)
    return Claim(node.word("column"), node.word("taken"), node.word("open"))


def _check(node: Yaml, view: View) -> None:
    """What one key says of another."""
    if not view.key:
        raise node.error("a view needs key", "view 缺 key：能唯一指出一行的列，一个或几个。")
    if not view.changed and view.claim is None:
        zh = "view 缺 changed：每次新增、修改都变大的时间或数字列；没有这样的列的中间表可用 claim。"
        raise node.error("a view needs changed, or a claim", zh)
    if view.since and not view.changed:
        raise node.fields()["since"].error("since needs changed", "写了 since 就要写 changed。")
    if view.driver != "sqlite" and not (view.host and view.user):
        raise node.error("this driver needs host and user", f"{view.driver} 要写 host 和 user。")
    if view.password_env and view.password_file:
        raise node.error("either password_env or password_file", "password_env 与 password_file 只写一个。")
    if view.password_env.startswith(_OURS):
        where = node.fields()["password_env"]
        raise where.error(f"a name beginning with {_OURS} is a setting", f"{_OURS} 开头的变量是网关的设置，请换名。")
    _check_columns(node, view)


def _check_columns(node: Yaml, view: View) -> None:
    """A row that could not be named by its key would be one nobody finds again."""
    missing = [one for one in view.key if view.columns and one not in view.columns]
    if missing:
        near, near_zh = near_to(missing[0], view.columns)
        zh = f"columns 里没有 key 的列 {missing[0]!r}{near_zh or '；请加上。'}"
        raise node.fields()["columns"].error(f"the key column {missing[0]!r} is not among columns{near}", zh)
