"""The bill as a document in CycloneDX 1.6 (ECMA-424), JSON or XML."""

import re
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.exception.factory import InvalidSpdxLicenseException
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.component_evidence import ComponentEvidence, Occurrence
from cyclonedx.model.contact import OrganizationalContact, OrganizationalEntity
from cyclonedx.model.license import License
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from wherry import __version__
from wherry.oci import parse_reference
from wherry.sbom.facts import Layer, Module, Package, Subject
from wherry.wasm import Anatomy, PackageInfo, ToolInfo

FORMATS = {"cyclonedx-json": OutputFormat.JSON, "cyclonedx-xml": OutputFormat.XML}
"""By the names that people ask for them by."""

_EPOCH = datetime.fromtimestamp(0, UTC)
_FACTORY = LicenseFactory()
_PART = r"(?:[\w.~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"
_WEB = re.compile(rf"https?://{_PART}(?:#{_PART})?", re.ASCII)
"""An address on the web as RFC 3986 spells it; what packages say is often none."""


def write(
    subject: Subject,
    modules: Sequence[Module],
    packages: Iterable[Package] = (),
    layers: Sequence[Layer] = (),
    form: str = "cyclonedx-json",
) -> bytes:
    """The document, indented. Raises KeyError for a form that is not in `FORMATS`."""
    root = _root(subject)
    parts: list[Component] = []
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, f"wherry {__version__} {subject.digest}"),
        metadata=BomMetaData(
            timestamp=_time(subject.created),
            component=root,
            tools=ToolRepository(
                components=[
                    Component(
                        name="wherry",
                        version=__version__,
                        type=ComponentType.APPLICATION,
                        bom_ref=f"tool:wherry@{__version__}",
                    )
                ]
            ),
        ),
    )
    for number, layer in enumerate(layers):
        parts.append(_layer(number, layer))
    refs = _Refs()
    parts += (_package(refs, package) for package in packages)
    for module in modules:
        component = _module(refs, module.anatomy, module.place, module)
        parts.append(component)
        bom.components.update(_depend(bom, refs, module, component))
    bom.components.update(parts)
    bom.register_dependency(root, parts)
    return _text(bom, FORMATS[form])


def _text(bom: Bom, form: OutputFormat) -> bytes:
    outputter = make_outputter(bom, form, SchemaVersion.V1_6)
    return (outputter.output_as_string(indent=2).rstrip() + "\n").encode()


class _Refs:
    """References within the document, each given once."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}

    def unique(self, wanted: str) -> str:
        wanted = _clean(wanted)
        count = self._given[wanted] = self._given.get(wanted, 0) + 1
        return wanted if count == 1 else f"{wanted}#{count}"


def _root(subject: Subject) -> Component:
    properties = {"wherry:platform": subject.platform}
    purl = None
    if subject.is_image:
        repository = parse_reference(subject.name).name if subject.name else ""
        base = repository.rpartition("/")[2] or "image"
        qualifiers = {"repository_url": repository, "tag": subject.version}
        purl = PackageURL(
            "oci",
            name=base.lower(),
            version=subject.digest,
            qualifiers={key: value for key, value in qualifiers.items() if value},
        )
    return Component(
        name=subject.name or subject.digest,
        version=subject.version or subject.digest,
        type=ComponentType.CONTAINER if subject.is_image else ComponentType.FILE,
        bom_ref=f"subject:{subject.digest}",
        purl=purl,
        hashes=_hashes(subject.digest),
        authors=[OrganizationalContact(name=subject.author)] if subject.author else (),
        properties=_properties(properties),
    )


def _layer(number: int, layer: Layer) -> Component:
    return Component(
        name=f"layer {number + 1}",
        type=ComponentType.FILE,
        bom_ref=f"layer:{number + 1}:{layer.digest}",
        hashes=_hashes(layer.digest),
        # As properties: the library spells `mime-type` in JSON as the schema does not.
        properties=_properties(
            {"wherry:media-type": layer.media_type, "wherry:layer:size": str(layer.size)}
        ),
    )


def _depend(bom: Bom, refs: _Refs, module: Module, component: Component) -> list[Component]:
    """The packages that a module, or what is nested in it, was built of; who needs whom is told."""
    found: list[Component] = []
    pending = [module.anatomy]
    while pending:
        anatomy = pending.pop()
        pending += anatomy.nested
        packages = anatomy.packages
        made = [_built_in(refs, each, module.place) for each in packages]
        others = [part for each, part in zip(packages, made, strict=True) if not each.is_root]
        tells = any(each.is_root and each.depends_on for each in packages)
        for each, part in zip(packages, made, strict=True):
            used = [made[number] for number in each.depends_on if not packages[number].is_root]
            if not each.is_root:
                bom.register_dependency(part, used)
            elif tells:
                bom.register_dependency(component, used)
        if not tells:
            bom.register_dependency(component, others)
        found += others
    return found


def _module(refs: _Refs, anatomy: Anatomy, place: str, module: Module | None) -> Component:
    said = anatomy.metadata
    name = place.rpartition("/")[2] if module else said.name or anatomy.kind
    properties = {
        "wherry:wasm:kind": anatomy.kind,
        "wherry:wasm:name": said.name,
        "wherry:wasm:target": anatomy.target,
        "wherry:wasm:entry": anatomy.entry,
        "wherry:wasm:program": "true" if module and module.is_program else "",
        "wherry:layer": module.layer if module else "",
        "wherry:revision": said.revision,
    }
    repeated = [
        *(("wherry:wasm:language", _tool(each)) for each in anatomy.languages),
        *(("wherry:wasm:made-by", _tool(each)) for each in anatomy.tools),
        *(("wherry:wasm:uses", name) for name in anatomy.features),
        *(
            ("wherry:wasm:built-from", f"{each.name} {each.version}")
            for each in anatomy.packages
            if each.is_root
        ),
    ]
    nested = [
        _module(refs, each, f"{place}!{number}", None)
        for number, each in enumerate(anatomy.nested)
        if each.sections
    ]
    if anatomy.runtime and module:
        runtime = anatomy.runtime
        nested.append(
            Component(
                name=runtime.name,
                version=runtime.version or None,
                type=ComponentType.PLATFORM,
                bom_ref=refs.unique(f"runtime:{place}:{runtime.name}"),
                purl=PackageURL("generic", name=runtime.name.lower(), version=runtime.version),
            )
        )
    return Component(
        name=_clean(name) or "module",
        version=said.version or None,
        type=ComponentType.APPLICATION
        if anatomy.entry in ("command", "http")
        else ComponentType.LIBRARY,
        bom_ref=refs.unique(f"wasm:{place}"),
        hashes=_hashes(anatomy.digest),
        description=said.description or None,
        licenses=_licenses((said.licenses,)),
        authors=[OrganizationalContact(name=said.authors)] if said.authors else (),
        external_references=_references(said.homepage, said.source),
        properties=[
            *_properties(properties),
            *(Property(name=k, value=v.strip()) for k, v in repeated),
        ],
        components=nested,
        evidence=ComponentEvidence(occurrences=[Occurrence(location=_clean(place))])
        if module
        else None,
    )


def _tool(tool: ToolInfo) -> str:
    """ "clang 17.0"; Go's versions begin with its name already."""
    version = tool.version.removeprefix(tool.name.lower())
    return f"{tool.name} {version}".strip()


def _built_in(refs: _Refs, package: PackageInfo, place: str) -> Component:
    """A package of cargo or Go that a module at `place` was built of."""
    namespace, name = "", package.name
    if package.ecosystem == "golang":
        namespace, _, name = package.name.rpartition("/")
    purl = PackageURL(package.ecosystem, namespace or None, name, package.version)
    return Component(
        name=_clean(package.name),
        version=_clean(package.version),
        type=ComponentType.LIBRARY,
        bom_ref=refs.unique(f"{purl.to_string()}:{place}"),
        purl=purl,
        scope=ComponentScope.EXCLUDED if package.is_build else None,
        properties=_properties({"wherry:source": package.source}),
        evidence=ComponentEvidence(occurrences=[Occurrence(location=_clean(place))]),
    )


def _package(refs: _Refs, package: Package) -> Component:
    purl = PackageURL(
        package.kind,
        package.namespace or None,
        package.name,
        package.version,
        qualifiers=dict(package.qualifiers),
    )
    group = package.namespace if package.kind == "npm" else ""
    hashes = [HashType(alg=HashAlgorithm.SHA_1, content=package.sha1)] if package.sha1 else ()
    files = "" if package.files is None else str(package.files)
    return Component(
        name=_clean(package.name),
        group=_clean(group) or None,
        version=_clean(package.version),
        type=ComponentType.LIBRARY,
        bom_ref=refs.unique(f"{purl.to_string()}:{package.place}"),
        purl=purl,
        hashes=hashes,
        description=_clean(package.description) or None,
        supplier=OrganizationalEntity(name=_clean(package.supplier)) if package.supplier else None,
        licenses=_licenses(package.licenses),
        external_references=_references(package.homepage, ""),
        properties=_properties({"wherry:files": files}),
        evidence=ComponentEvidence(occurrences=[Occurrence(location=_clean(f"/{package.place}"))]),
    )


def _hashes(digest: str) -> list[HashType]:
    algorithm, _, content = digest.partition(":")
    names = {"sha256": HashAlgorithm.SHA_256, "sha512": HashAlgorithm.SHA_512}
    return [HashType(alg=names[algorithm], content=content)] if algorithm in names else []


def _licenses(told: Iterable[str]) -> list[License]:
    """As SPDX knows them where it does, else by the name that was told."""
    texts = [each for each in map(_clean, told) if each]
    if len(texts) == 1:
        return [_FACTORY.make_from_string(texts[0])]
    # Beside others an expression is not allowed: it is a name then.
    found: list[License] = []
    for text in texts:
        try:
            found.append(_FACTORY.make_with_id(text))
        except InvalidSpdxLicenseException:
            found.append(_FACTORY.make_with_name(text))
    return found


def _references(homepage: str, source: str) -> list[ExternalReference]:
    kinds = ((ExternalReferenceType.WEBSITE, homepage), (ExternalReferenceType.VCS, source))
    return [
        ExternalReference(type=kind, url=XsUri(url)) for kind, url in kinds if _WEB.fullmatch(url)
    ]


def _properties(values: dict[str, str]) -> list[Property]:
    return [Property(name=name, value=_clean(value)) for name, value in values.items() if value]


def _clean(text: str) -> str:
    """Text out of an image without what XML cannot hold, and of a bounded length."""
    return "".join(c for c in text[:2000] if c.isprintable())


def _time(text: str) -> datetime:
    """When the image says it was made; the epoch when it does not say, for the bill of one content
    is one document."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return _EPOCH
    return time if time.tzinfo else time.replace(tzinfo=UTC)
