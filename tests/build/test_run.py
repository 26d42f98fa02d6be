"""RUN of Wasm programs, and the clear refusal of everything else."""

import pytest
from tests.build.kitchen import CopyingRunner, Files, Kitchen, link

from wherry.build import BuildError, Step, StepFinished

TOOL = """
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\c8\\00\\00\\00\\06\\00\\00\\00")
  (data (i32.const 100) "made")
  (data (i32.const 200) "hello\\n")
  (func (export "_start")
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 1)
                      (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 20)))
    (drop (call $write (i32.load (i32.const 20)) (i32.const 0) (i32.const 1) (i32.const 24)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 24)))
    (call $exit (i32.const CODE))))
"""
FILES: Files = {"tool.wat": TOOL.replace("CODE", "0"), "fails.wat": TOOL.replace("CODE", "3")}
START = "FROM scratch\nCOPY tool.wat fails.wat /bin/\n"


class Recorder(CopyingRunner):
    """Only notes the steps."""

    def run(self, step: Step) -> int:
        self.steps.append(step)
        return 0


def test_what_a_program_writes_becomes_a_layer(kitchen: Kitchen) -> None:
    image = kitchen.build(START + 'RUN ["/bin/tool.wat", "x"]', FILES)
    assert kitchen.output == b"hello\n"
    assert kitchen.layer(image)["made"][1] == b"hello\n"
    assert "bin/tool.wat" not in kitchen.layer(image)
    assert (image.config.history or [])[-1].created_by == 'RUN ["/bin/tool.wat", "x"]'


def test_later_steps_see_what_it_wrote(kitchen: Kitchen) -> None:
    image = kitchen.build(
        START + 'RUN ["/bin/tool.wat"]\nFROM scratch\nCOPY --from=0 /made /bin /out/', FILES
    )
    assert kitchen.files(image)["out/made"] == "hello\n"


def test_the_second_time_it_does_not_run(kitchen: Kitchen) -> None:
    text = START + 'ENV A=1\nRUN ["/bin/tool.wat"]\nRUN ["/bin/tool.wat"]'
    first = kitchen.build(text, FILES)
    second = kitchen.build(text, FILES)
    assert second.id == first.id
    assert len(kitchen.runner.steps) == 2
    assert [e.cached for e in kitchen.events if isinstance(e, StepFinished)][-2:] == [True, True]
    kitchen.build(text.replace("A=1", "A=2"), FILES)
    assert len(kitchen.runner.steps) == 4


def test_what_a_step_is_given(kitchen: Kitchen) -> None:
    kitchen.build(
        START
        + "ARG FROM_ARG=1\nARG UNSET\nENV FROM_ENV=2\nARG FROM_ENV=hidden\nUSER 7:8\nWORKDIR /w\n"
        + 'RUN ["/bin/tool.wat", "$FROM_ENV"]',
        FILES,
        arguments={"HTTP_PROXY": "http://proxy"},
    )
    (step,) = kitchen.runner.steps
    assert step.argv == ["/bin/tool.wat", "$FROM_ENV"]
    assert sorted(step.env) == ["FROM_ARG=1", "FROM_ENV=2", "HTTP_PROXY=http://proxy"]
    assert (step.cwd, step.user) == ("/w", "7:8")
    assert not step.upperdir.exists()


def test_proxies_do_not_spoil_the_cache(kitchen: Kitchen) -> None:
    text = START + 'RUN ["/bin/tool.wat"]'
    kitchen.build(text, FILES, arguments={"HTTP_PROXY": "one"})
    kitchen.build(text, FILES, arguments={"HTTP_PROXY": "two"})
    assert len(kitchen.runner.steps) == 1


def test_a_shell_of_ones_own_may_be_wasm(kitchen: Kitchen) -> None:
    kitchen.build(START + 'SHELL ["/bin/tool.wat", "-c"]\nRUN echo hello', FILES)
    (step,) = kitchen.runner.steps
    assert step.argv == ["/bin/tool.wat", "-c", "echo hello"]


@pytest.mark.parametrize("program", ["tool.wat", "/linked/by-link", "bin/tool.wat"])
def test_programs_are_found_as_the_kernel_would(kitchen: Kitchen, program: str) -> None:
    kitchen.runner = Recorder()
    files: Files = {**FILES, "links/by-link": link("../bin/tool.wat")}
    kitchen.build(f'{START}COPY links /linked\nENV PATH=/nowhere:/bin\nRUN ["{program}"]', files)
    assert kitchen.runner.steps[0].argv == [program]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            'RUN ["/bin/fails.wat"]',
            '"/bin/fails.wat" did not complete successfully: exit code: 3',
        ),
        ("RUN make all", "needs Linux"),
        ("RUN <<EOF\nmake\nEOF", "needs Linux"),
        ('RUN ["/bin/sh", "-c", "true"]', "no '/bin/sh' in the stage"),
        ('RUN ["/readme"]', "is not Wasm and needs Linux"),
        ('RUN ["tool.wat"]', "no 'tool.wat' in the stage"),
        ('RUN ["/bin"]', "no '/bin' in the stage"),
        ('RUN ["", "x"]', "name is empty"),
        ('RUN --mount=type=ssh ["/bin/tool.wat"]', "type=ssh is not supported"),
        ('RUN --mount=type=cache ["/bin/tool.wat"]', "needs a target"),
        ('RUN --mount=type=tmpfs,target=/x,id=1 ["/bin/tool.wat"]', "takes no id"),
        ('RUN --mount=type=cache,target=/ ["/bin/tool.wat"]', "upon the root directory"),
        ('RUN --mount=target=/x,source=gone ["/bin/tool.wat"]', "'gone' is not in the build"),
        ('RUN --mount=type=secret,id=s,required ["/bin/tool.wat"]', "'s' is required"),
        ('RUN --mount=target=/x,ro,rw ["/bin/tool.wat"]', "both ro and rw"),
        ('RUN --mount=target=/x,from=$X ["/bin/tool.wat"]', "variables cannot be used in from"),
        ('RUN --network=host ["/bin/tool.wat"]', "wherry build --network host"),
        ('RUN --network=lan ["/bin/tool.wat"]', "--network=lan"),
        ('RUN --security=insecure ["/bin/tool.wat"]', "--security=insecure"),
    ],
)
def test_what_cannot_run_says_why_and_what_to_do(kitchen: Kitchen, run: str, message: str) -> None:
    files: Files = {**FILES, "readme": "#!/bin/sh\n"}
    with pytest.raises(BuildError, match=message) as caught:
        kitchen.build(f"{START}COPY readme /\nENV PATH=/nowhere\n{run}", files)
    assert (caught.value.file, caught.value.line) == ("Dockerfile", 5)
    assert "\n" not in str(caught.value)
    assert kitchen.store.list() == []


def test_a_failed_step_is_not_remembered(kitchen: Kitchen) -> None:
    for _ in range(2):
        with pytest.raises(BuildError):
            kitchen.build(START + 'RUN ["/bin/fails.wat"]', FILES)
    assert len(kitchen.runner.steps) == 2


def test_source_date_epoch_reaches_what_programs_write(kitchen: Kitchen) -> None:
    image = kitchen.build(
        START + 'RUN ["/bin/tool.wat"]', FILES, arguments={"SOURCE_DATE_EPOCH": "1000"}
    )
    assert kitchen.layer(image)["made"][0].mtime == 1000 * 10**9


def test_folders_of_a_killed_build_are_swept(kitchen: Kitchen) -> None:
    left = kitchen.root / "build" / "run" / "left-behind"
    left.mkdir(parents=True)
    (left / "file").write_text("x")
    kitchen.build(START + 'RUN ["/bin/tool.wat"]', FILES)
    assert not left.exists()
