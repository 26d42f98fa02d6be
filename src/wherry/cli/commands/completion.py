"""`completion`: shell scripts that ask `wherry __complete` what may come next."""

from __future__ import annotations

from wherry.cli.command import UNLIMITED, Command
from wherry.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

_BASH = r"""# wherry completion for bash: eval "$(wherry completion bash)"
_wherry() {
    local line="${COMP_LINE:0:COMP_POINT}" word candidates kind
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word="${words[-1]}"
    candidates="$(wherry __complete -- "${words[@]:1}" 2>/dev/null)" || return
    kind="${candidates%%$'\n'*}"
    candidates="${candidates#*$'\n'}"
    local IFS=$'\n'
    local current="${COMP_WORDS[COMP_CWORD]}" prefix=""
    # Bash splits words at ':' and '='; what it already holds must not be offered again.
    if [[ $word == *"$current" && $word != "$current" ]]; then
        prefix="${word%"$current"}"
        [[ $current == [:=] ]] && { prefix="$word"; current=""; }
    fi
    COMPREPLY=()
    local name
    for name in $(cut -f1 <<<"$candidates"); do
        [[ $name == "$word"* ]] && COMPREPLY+=("${name#"$prefix"}")
    done
    [[ $prefix == *: ]] || case $kind in
        file) compopt -o filenames; COMPREPLY+=($(compgen -f -- "$current")) ;;
        directory) compopt -o filenames; COMPREPLY+=($(compgen -d -- "$current")) ;;
    esac
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:=] ]] && compopt -o nospace
    return 0
}
complete -F _wherry wherry
"""

_ZSH = r"""#compdef wherry
# wherry completion for zsh: source <(wherry completion zsh)
_wherry() {
    local -a lines values
    local line kind
    lines=("${(@f)$(wherry __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    kind="${lines[1]}"
    for line in "${(@)lines[2,-1]}"; do
        [[ -n $line ]] && values+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    (( ${#values} )) && _describe -o 'wherry' values
    case $kind in
        file) _files ;;
        directory) _files -/ ;;
    esac
}
if [[ $funcstack[1] == _wherry ]]; then _wherry "$@"; else compdef _wherry wherry; fi
"""

_FISH = r"""# wherry completion for fish: wherry completion fish | source
function __wherry_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l lines (wherry __complete -- $words[2..-1] 2>/dev/null)
    switch "$lines[1]"
        case file
            __fish_complete_path (commandline -ct)
        case directory
            __fish_complete_directories (commandline -ct)
    end
    printf '%s\n' $lines[2..-1]
end
complete -c wherry -f -a '(__wherry_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def _completion(session: Session, arguments: Arguments) -> int:
    shell = arguments.words[0]
    if shell not in SCRIPTS:
        raise CommandError(f"'{shell}' is not a shell wherry knows; it knows bash, zsh and fish")
    session.write(SCRIPTS[shell])
    return 0


def _complete(session: Session, arguments: Arguments) -> int:
    from wherry.cli.candidates import candidates

    kind, found = candidates(session, arguments.words)
    session.write_line(kind)
    session.write("".join(f"{word}\t{meaning}\n" for word, meaning in found))
    return 0


COMPLETION = Command(
    _completion,
    "Print the completion script of a shell",
    "bash|zsh|fish",
    least=1,
    most=1,
    complete=(("bash", "zsh", "fish"),),
    examples=(
        'eval "$(wherry completion bash)"       # in ~/.bashrc',
        "source <(wherry completion zsh)        # in ~/.zshrc",
        "wherry completion fish | source        # in config.fish",
    ),
)
COMPLETE = Command(
    _complete, "Print what may come next", "[WORD...]", most=UNLIMITED, interspersed=False
)
