"""One stage while it is built: its instructions carried out one after the other."""

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from wherry.build import metadata, mounting, running, syntax
from wherry.build.archive import ArchiveTree
from wherry.build.cache import CachedLayer
from wherry.build.compressed import unpack_archive
from wherry.build.copying import Transfer, plan_transfer
from wherry.build.errors import BuildError
from wherry.build.events import Warned
from wherry.build.expansion import expand
from wherry.build.files import FileTree, resolve
from wherry.build.layer_plan import LayerPlan, Override
from wherry.build.masking import masked
from wherry.build.owners import find_owner, parse_mode
from wherry.build.remote import is_remote, read_checksum
from wherry.build.repository import is_repository
from wherry.build.rootfs import Rootfs
from wherry.build.session import EMPTY_LAYER, Session, StepRequest
from wherry.images import Layer
from wherry.oci import History, Platform, RuntimeConfig, encode

_MAX_CONFIG = 2 << 20
"""Bytes; the store reads no document of more than twice that."""


class StageState(msgspec.Struct, frozen=True):
    """What a stage has come to.

    `history` begins with `inherited` entries of the base image; later ones that wrote no layer have
    no time yet. `arguments` are those that the stage has declared.
    """

    platform: Platform
    config: RuntimeConfig = msgspec.field(default_factory=RuntimeConfig)
    author: str = ""
    layers: tuple[Layer, ...] = ()
    rootfs: Rootfs = msgspec.field(default_factory=Rootfs)
    history: tuple[History, ...] = ()
    inherited: int = 0
    arguments: dict[str, str] = msgspec.field(default_factory=dict)


Origin = Callable[[str], tuple[FileTree, str]]
"""From the --from of a COPY to the files it means, and how errors call them."""


class StageBuilder:
    """Carries out instructions, each changing `state` wholly or not at all."""

    def __init__(self, session: Session, state: StageState, origin: Origin) -> None:
        self.state = state
        self._session = session
        self._origin = origin
        self._cmd_is_own = False

    def carry_out(self, instruction: syntax.Instruction) -> bool:
        """Carry out `instruction`; returns whether its layer came from the cache.

        Raises BuildError, ExpansionError, or what the image store raises.
        """
        match instruction:
            case syntax.Copy():
                return self._copy(instruction)
            case syntax.Run():
                return self._run(instruction)
            case syntax.Workdir():
                return self._workdir(instruction)
            case syntax.Arg():
                arguments = dict(self.state.arguments)
                env = metadata.environment(self.state.config)
                escape = self._session.escape
                self._session.arguments.declare(instruction, arguments, env, escape)
                self._note(instruction, arguments=arguments)
            case syntax.Maintainer():
                self._note(instruction, author=instruction.name)
            case _:
                self._metadata(instruction)
        return False

    def _metadata(self, instruction: syntax.Instruction) -> None:
        config = metadata.apply(
            instruction, self.state.config, self._expand, cmd_is_own=self._cmd_is_own
        )
        self._note(instruction, config=config)
        if isinstance(instruction, syntax.Cmd):
            self._cmd_is_own = True
        if isinstance(instruction, syntax.Cmd | syntax.Entrypoint):
            self._warn_of_shell(instruction)

    def _warn_of_shell(self, instruction: syntax.Cmd | syntax.Entrypoint) -> None:
        command, config = instruction.command, self.state.config
        if command.for_shell and not config.shell and self.state.platform.is_wasm:
            keyword = instruction.text.split(None, 1)[0]
            message = f"line {instruction.line}: {keyword} in the shell form needs a /bin/sh"
            self._session.progress(Warned(f'{message}; for Wasm write {keyword} ["/program.wasm"]'))

    def _copy(self, copy: syntax.Copy) -> bool:
        root: FileTree = Rootfs() if copy.link else self.state.rootfs
        files, origin = self._origin(copy.origin)
        chown, chmod = self._expand(copy.chown), self._expand(copy.chmod)
        sources = [self._expand(source) for source in copy.sources]
        remote = [source for source in sources if is_remote(source)]
        repositories = [source for source in sources if is_repository(source)]
        elsewhere = (*remote, *repositories)
        if elsewhere and copy.keyword != "ADD":
            raise BuildError(f"COPY: {masked(elsewhere[0])} is a URL: ADD takes it, COPY does not")
        if repositories and copy.keep_git:
            raise BuildError("ADD --keep-git-dir: a repository is fetched without its history")
        checksum = read_checksum(
            self._expand(copy.checksum), len(sources), len(remote), len(repositories)
        )
        transfer = Transfer(
            keyword=copy.keyword,
            sources=tuple(source for source in sources if source not in elsewhere),
            documents=tuple(
                (document.name, self._document(document.content, document.expand))
                for document in copy.heredocs
            ),
            downloads=tuple(self._session.download(url, checksum) for url in remote),
            repositories=tuple(self._session.checkout(source, checksum) for source in repositories),
            destination=self._expand(copy.destination),
            origin=origin,
            missing_hint="" if copy.origin else ", or .dockerignore excludes it",
            override=self._override(
                find_owner(chown, self.state.rootfs) if chown else None,
                parse_mode(chmod) if chmod else None,
            ),
            unpack=self._unpacker(copy.extracts(remote=False)),
            unpack_download=self._unpacker(copy.extracts(remote=True)),
            exclude=tuple(self._expand(pattern) for pattern in copy.exclude),
            parents=copy.parents,
        )
        workdir = self.state.config.working_dir or "/"
        return self._write(copy, plan_transfer(transfer, files, root, workdir))

    def _unpacker(self, wanted: bool) -> Callable[[FileTree, str], FileTree | None]:
        return self._unpack_archive if wanted else lambda files, path: None

    def _unpack_archive(self, files: FileTree, path: str) -> FileTree | None:
        with files.open(path) as source:
            spool = unpack_archive(source, self._session.folder)
        if spool is None:
            return None
        return ArchiveTree(self._session.resources.enter_context(spool), own=False)

    def _workdir(self, instruction: syntax.Workdir) -> bool:
        path = metadata.workdir(instruction.path, self.state.config, self._expand)
        plan = LayerPlan(self.state.rootfs)
        target = resolve(self.state.rootfs, path)
        if not plan.is_directory(target):
            plan.make_directory(target, self._override(None, None))
        cached = self._write(instruction, plan)
        config = metadata.with_workdir(self.state.config, path)
        self.state = replace(self.state, config=config)
        return cached

    def _write(self, instruction: syntax.Instruction, plan: LayerPlan) -> bool:
        """Put the planned layer on top, or only a line into the history if it is empty."""
        if not plan:
            self._note(instruction)
            return False
        session = self._session
        layer, cached = session.layer(("files", plan.digest()), lambda: session.write(plan))
        self._stack(instruction, layer)
        return cached

    def _run(self, run: syntax.Run) -> bool:
        state, session = self.state, self._session
        config, platform = state.config, state.platform
        program = running.program(run, config, state.rootfs, platform)
        cwd, user = config.working_dir or "/", config.user
        mounts = tuple(
            mounting.read_mount(mount, self._expand, cwd, self._origin) for mount in run.mounts
        )
        network = session.network(run.network)
        variables = self._variables
        if not platform.is_wasm:
            variables.setdefault("PATH", running.DEFAULT_PATH)
        request = StepRequest(
            environment=session.arguments.proxies | variables,
            cwd=cwd,
            user=user,
            platform=platform,
            network=network,
        )
        key = (
            "run",
            str(platform),
            [layer.diff_id for layer in state.layers],
            program.argv,
            [file.data for file in program.files],
            variables,
            cwd,
            user,
            [mount.key() for mount in mounts],
            network,
        )
        layer, cached = session.layer(
            key, lambda: session.run(program, request, mounts, state.rootfs)
        )
        if layer.layer.diff_id == EMPTY_LAYER:
            self._note(run)
        else:
            self._stack(run, layer)
        return cached

    def _stack(self, instruction: syntax.Instruction, cached: CachedLayer) -> None:
        history = History(created=cached.created, created_by=instruction.text)
        self.state = replace(
            self.state,
            layers=(*self.state.layers, cached.layer),
            rootfs=self.state.rootfs.with_layer(self._session.stacked(cached)),
            history=(*self.state.history, history),
        )

    def _note(
        self,
        instruction: syntax.Instruction,
        *,
        config: RuntimeConfig | None = None,
        author: str | None = None,
        arguments: dict[str, str] | None = None,
    ) -> None:
        """Carry over what an instruction changed that wrote no layer. Raises BuildError."""
        variables = self.state.arguments if arguments is None else arguments
        size = sum(map(len, variables.values())) + (len(encode(config)) if config else 0)
        if size > _MAX_CONFIG:
            raise BuildError(f"the image's config grows beyond {_MAX_CONFIG >> 20} MiB")
        history = History(created_by=instruction.text, empty_layer=True)
        self.state = replace(
            self.state,
            config=self.state.config if config is None else config,
            author=self.state.author if author is None else author,
            arguments=variables,
            history=(*self.state.history, history),
        )

    def _override(self, owner: tuple[int, int] | None, mode: int | None) -> Override:
        clock = self._session.clock
        return Override(owner=owner, mode=mode, mtime=clock.mtime, now=clock.now)

    def _document(self, content: str, expands: bool) -> bytes:
        if expands:
            content = expand(content, self._variables, keep_quotes=True)
        return content.encode()

    def _expand(self, word: str) -> str:
        return expand(word, self._variables, self._session.escape)

    @property
    def _variables(self) -> dict[str, str]:
        return self.state.arguments | metadata.environment(self.state.config)
