"""Go templates: the cases of Docker's documentation, and laws that hold for any data."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.cli.template import Template, TemplateError, show

DATA: dict[str, Any] = {
    "Name": "/web",
    "Empty": "",
    "Nothing": None,
    "Zero": 0,
    "Size": 1234,
    "Ratio": 0.5,
    "On": True,
    "List": ["a", "b", "c"],
    "None": [],
    "Map": {"k2": "v2", "k1": "v1"},
    "Deep": {"State": {"Pid": 7, "Ports": {"80/tcp": [{"HostPort": "8080"}]}}},
    "Label": lambda name: f"<{name}>",
}


def render(source: str) -> str:
    return Template(source).render(DATA)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "/web"),
        ("{{ .Name }}x{{.Size}}", "/webx1234"),
        ("{{.Deep.State.Pid}}", "7"),
        ("{{$.Name}}", "/web"),
        ("{{.Nothing}}", "<no value>"),
        ("{{.List}} {{.Map}} {{.On}} {{.Ratio}}", "[a b c] map[k1:v1 k2:v2] true 0.5"),
        ("{{json .List}}{{json .Map}}", '["a","b","c"]{"k2":"v2","k1":"v1"}'),
        ("{{.Size | json}}", "1234"),
        ('{{"a" | printf "%s-%s" "b"}}', "b-a"),
        ("{{index .List 1}}", "b"),
        ('{{index .Map "k1"}}', "v1"),
        ('{{index .Map "none"}}|{{index .Nothing "none"}}', "|"),
        ('{{index .Deep "none"}}', "<no value>"),
        ('{{(index (index .Deep.State.Ports "80/tcp") 0).HostPort}}', "8080"),
        ('{{range $p, $c := .Deep.State.Ports}}{{$p}}={{(index $c 0).HostPort}}{{end}}',
         "80/tcp=8080"),
        ("{{range .List}}<{{.}}>{{end}}", "<a><b><c>"),
        ("{{range $i, $x := .List}}{{$i}}{{$x}}{{end}}", "0a1b2c"),
        ("{{range $x := .List}}{{$x}}{{end}}", "abc"),
        ("{{range .None}}x{{else}}none{{end}}", "none"),
        ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
        ("{{range .Map}}{{.}},{{end}}", "v1,v2,"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ('{{range .List}}{{if eq . "b"}}{{continue}}{{end}}{{.}}{{end}}', "ac"),
        ('{{range .List}}{{if eq . "b"}}{{break}}{{end}}{{.}}{{end}}', "a"),
        ("{{range .List}}{{$.Name}}{{end}}", "/web/web/web"),
        ("{{if .On}}yes{{end}}{{if .Zero}}no{{end}}{{if .Empty}}no{{end}}", "yes"),
        ("{{if .Zero}}a{{else if .On}}b{{else}}c{{end}}", "b"),
        ("{{if .Zero}}a{{else if .Empty}}b{{else}}c{{end}}", "c"),
        ("{{if and .On (eq .Size 1234)}}both{{end}}", "both"),
        ("{{and .Zero .Nothing.Field}}", "0"),
        ("{{or .Empty .Name}}", "/web"),
        ("{{not .On}} {{not .Empty}}", "false true"),
        ("{{with .Deep.State}}{{.Pid}}{{end}}", "7"),
        ("{{with $s := .Deep.State}}{{$s.Pid}}{{$.Name}}{{end}}", "7/web"),
        ("{{with .Empty}}x{{else}}empty{{end}}", "empty"),
        ("{{with .Empty}}x{{else with .Name}}{{.}}{{end}}", "/web"),
        ("{{$x := .Size}}{{$x}}{{$x = 5}}{{$x}}", "12345"),
        ("{{$x := 1}}{{range .List}}{{$x = .}}{{end}}{{$x}}", "c"),
        ("{{$x := 1}}{{if .On}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{eq .Size 1 2 1234}} {{ne .Size 1}}", "true true"),
        ("{{lt 1 2}}{{le 2 2}}{{gt 1 2}}{{ge 2 2}}", "truetruefalsetrue"),
        ("{{len .List}}{{len .Name}}{{len .Map}}{{len .Nothing}}", "3420"),
        ("{{slice .Name 1}} {{slice .List 1 2}}", "web [b]"),
        ('{{join .List ", "}} {{split "a:b" ":"}}', "a, b, c [a b]"),
        ('{{lower "AbC"}}{{upper "aBc"}}{{title "two words"}}', "abcABCTwo Words"),
        ('{{truncate .Name 3}}|{{truncate "ab" 9}}|{{pad "x" 1 2}}|', "/we|ab| x  |"),
        ('{{println "a" 1}}', "a 1\n"),
        ('{{print "a" "b" 1 2 "c"}}', "ab1 2c"),
        ('{{printf "%5d|%-5s|%05.1f|%q|%x|%t|%%|%v" 42 "ab" 1.25 "q" 255 true .List}}',
         '   42|ab   |001.2|"q"|ff|true|%|[a b c]'),
        ('{{printf "%d" "x"}}{{printf "%d"}}', "%!d(x)%!d(MISSING)"),
        ('{{html "<a&b>"}} {{urlquery "a b&c"}} {{js "it\'s"}}', "&lt;a&amp;b&gt; a+b%26c it\\'s"),
        ('{{.Label "x"}}{{"y" | .Label}}', "<x><y>"),
        ("a {{- 1 -}} b {{- /* note */ -}} c", "a1bc"),
        ("{{/* a comment with }} in it */}}x", "x"),
        ('{{"}}"}}{{`raw\\n`}}{{"tab\\there"}}{{\'a\'}}', "}}raw\\ntab\there97"),
        ("{{1.5}} {{0x10}} {{-3}} {{1e3}}", "1.5 16 -3 1000"),
        ('{{define "t"}}[{{.}}]{{end}}{{template "t" .Size}}{{template "t"}}',
         "[1234][<no value>]"),
        ('{{block "b" .Name}}({{.}}){{end}}', "(/web)"),
        ("{{true}} {{false}}", "true false"),
        ('{{"\\u00e9\\x41"}}', "éA"),
    ],
)  # fmt: skip
def test_templates(source: str, text: str) -> None:
    assert render(source) == text


@pytest.mark.parametrize(
    "source",
    [
        "{{", "{{.Name", "{{end}}", "{{else}}", "{{if .On}}", "{{range .List}}x", "{{if}}x{{end}}",
        "{{}}", "{{nosuch .Name}}", "{{$x}}", "{{.Name | }}", "{{| .Name}}", "{{(.Name}}",
        "{{.Name)}}", '{{"open}}', "{{`open}}", "{{/* open }}", "{{1x}}", "{{#}}", '{{"\\q"}}',
        "{{break}}", "{{template}}", '{{define "x"}}', '{{template "none"}}', "{{.Name .Size}}",
        '{{"a" "b"}}', "{{1 | 2}}", "{{if .On}}{{else}}{{else}}{{end}}", "{{$x := 1}}{{$x := }}",
        "{{with $a, $b := .Map}}{{end}}", "{{'ab'}}", "{{" + "(" * 500 + ".Name" + ")" * 500 + "}}",
        "{{if .On}}" * 300 + "{{end}}" * 300,
        '{{define "a"}}{{template "a"}}{{end}}{{template "a"}}',
    ],
)  # fmt: skip
def test_what_is_no_template_is_refused_in_one_line(source: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(source)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code in (64, 1)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{.Nope}}", 'no field "Nope"'),
        ("{{.Nothing.Field}}", ".Field"),
        ("{{.Name.Field}}", ".Field"),
        ("{{index .List 9}}", "out of range"),
        ('{{index .List "x"}}', "index"),
        ("{{len .Size}}", "len"),
        ("{{lt .Name 1}}", "incompatible"),
        ("{{range .Name}}{{end}}", "range"),
        ("{{upper .Size}}", "upper"),
        ("{{join .Size}}", "join"),
        ("{{pad .Name 9999999999 1}}", "pad"),
        ('{{printf "%99999999d" 1}}{{range 99999999}}{{end}}', "range"),
    ],
)
def test_what_cannot_be_computed_is_named(source: str, said: str) -> None:
    with pytest.raises(TemplateError, match="template: ") as caught:
        render(source)
    assert said in str(caught.value)


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions_is_itself(text: str) -> None:
    assert Template(text).render({}) == text


@given(documents)
def test_json_is_the_value(document: Any) -> None:
    assert json.loads(Template("{{json .X}}").render({"X": document})) == document


@given(st.lists(st.text()))
def test_a_range_is_a_join(words: list[str]) -> None:
    data = {"X": words}
    assert Template("{{range .X}}{{.}},{{end}}").render(data) == "".join(f"{w}," for w in words)
    assert Template('{{join .X "-"}}').render(data) == "-".join(words)
    by_index = "{{range $i, $x := .X}}{{index $.X $i}}{{end}}"
    assert Template(by_index).render(data) == "".join(words)


@given(documents, documents)
def test_if_and_with_and_or_and_and_agree(first: Any, second: Any) -> None:
    data = {"A": first, "B": second}
    true = bool(first)
    assert Template("{{if .A}}1{{else}}0{{end}}").render(data) == ("1" if true else "0")
    assert Template("{{with .A}}1{{else}}0{{end}}").render(data) == ("1" if true else "0")
    assert Template("{{or .A .B}}").render(data) == show(first if true else second)
    assert Template("{{and .A .B}}").render(data) == show(second if true else first)


@given(st.text().map(json.dumps))
def test_a_quoted_string_means_what_json_means(quoted: str) -> None:
    if "\\/" not in quoted and "\\ud" not in quoted:
        assert Template("{{" + quoted + "}}").render({}) == json.loads(quoted)


fragments = st.sampled_from(
    ["{{", "}}", "{{-", "-}}", ".", ".X", "$", "$x", ":=", "=", "|", "(", ")", '"s"', "`", "'c'",
     "1", "if", "else", "end", "range", "with", "define", "template", "break", "printf", "index",
     "json", "eq", "/*", "*/", " ", "\n", "text", ",", "%d", "len", "and", "not", "block"]
)  # fmt: skip


@given(st.lists(fragments, max_size=25).map("".join), documents)
def test_nothing_but_a_template_error_comes_of_any_text(source: str, document: Any) -> None:
    with contextlib.suppress(TemplateError):
        Template(source).render({"X": document})


def test_the_length_of_text_is_counted_in_bytes_as_in_go() -> None:
    assert Template("{{len .}}").render("é") == "2"
