"""A list of things, shown as a table, as names only, as JSON lines, or by a template."""

from __future__ import annotations

from wherry.cli.columns import align
from wherry.cli.printable import printable
from wherry.client import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from wherry.cli.session import Session

    Fields = Mapping[str, tuple[str, Callable[[Any], Any]]]

FORMAT_HELP = "Print each line by a Go template, 'table TEMPLATE' with headers, or 'json'"


class Row(dict[str, object]):
    """The fields of one line, each computed when it is first asked for."""

    def __init__(self, fields: Fields, item: Any) -> None:
        super().__init__()
        self._fields = fields
        self._item = item

    def __missing__(self, name: str) -> object:
        if name not in self._fields:
            raise KeyError(name)
        value: object = self._fields[name][1](self._item)
        self[name] = value
        return value

    def complete(self) -> dict[str, object]:
        """All fields that are data, for JSON; what a template calls with an argument is not."""
        values = {name: self[name] for name in sorted(self._fields)}
        return {name: value for name, value in values.items() if not callable(value)}


class Listing:
    """`fields` maps a field's name to its header and what computes it from an item.

    `standard` names the fields of the table that is shown when nothing else is asked for.
    """

    def __init__(self, fields: Fields, standard: Sequence[str]) -> None:
        self.fields = fields
        self.standard = standard

    def show(self, session: Session, items: Iterable[Any], layout: str = "") -> None:
        """Writes the items. Raises `TemplateError` for a layout that is none."""
        if layout in ("", "table"):
            session.write(self.table(items))
        elif layout == "json":
            for item in items:
                session.write_line(json.encode(Row(self.fields, item).complete()))
        else:
            self._show_template(session, items, layout)

    def table(self, items: Iterable[Any]) -> str:
        """The standard table, headers first."""
        rows = [[self.fields[name][0] for name in self.standard]]
        getters = [self.fields[name][1] for name in self.standard]
        rows.extend([printable(str(get(item))) for get in getters] for item in items)
        return align(rows)

    def _show_template(self, session: Session, items: Iterable[Any], layout: str) -> None:
        from wherry.cli.template import HEADER_FUNCTIONS, Template

        tabular = layout.startswith("table ")
        source = layout.removeprefix("table ").strip() if tabular else layout
        template = Template(unescape(source))
        rows = [template.render(Row(self.fields, item)) for item in items]
        if not tabular:
            session.write("".join(f"{row}\n" for row in rows))
            return
        headers = {name: header for name, (header, _) in self.fields.items()}
        rows.insert(0, template.render(headers, HEADER_FUNCTIONS))
        session.write(align([line.split("\t") for row in rows for line in row.split("\n")]))


def unescape(layout: str) -> str:
    r"""A format typed in a shell: `\t` and `\n` mean a tab and a new line."""
    return layout.replace("\\t", "\t").replace("\\n", "\n")
