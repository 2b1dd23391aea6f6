import { Argument, type Command, type Option } from "commander";
import { print } from "./output.ts";

/** `lifeboat completion bash|zsh|fish` */
export function addCompletion(program: Command, _signal: AbortSignal): void {
  program
    .command("completion")
    .summary("print a script that completes commands in a shell")
    .description("Prints a script that completes commands, flags and their values in a shell.")
    .addArgument(new Argument("<shell>").choices(["bash", "zsh", "fish"]))
    .addHelpText(
      "after",
      `
Examples:
  # in ~/.bashrc
  source <(lifeboat completion bash)

  # in ~/.zshrc, after compinit
  source <(lifeboat completion zsh)

  lifeboat completion fish > ~/.config/fish/completions/lifeboat.fish
`,
    )
    .action((shell: keyof typeof SCRIPTS) => print(SCRIPTS[shell](nodesBelow(program, ""))));
}

const SCRIPTS = { bash: bashScript, zsh: zshScript, fish: fishScript };

/** One command: what can follow it. `path` is what stands before, e.g. " backup create". */
interface Node {
  path: string;
  commands: Command[];
  options: Option[];
  values: string[];
}

function nodesBelow(command: Command, path: string): Node[] {
  const node: Node = {
    path,
    commands: [...command.commands],
    options: command.options.filter((option) => !option.hidden),
    values: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
  };
  return [node, ...command.commands.flatMap((child) => nodesBelow(child, `${path} ${child.name()}`))];
}

function flagsOf({ options }: Node): string[] {
  return [...options.flatMap(({ short, long }) => [long, short].filter((flag) => flag !== undefined)), "--help"];
}

/** In bash syntax, what both bash and zsh need: the command so far, and what may come next. */
function shellCore(nodes: Node[]): string {
  const paths = nodes.filter(({ path }) => path).map(({ path }) => `"${path}"`);
  const valued = nodes.flatMap(({ path, options }) =>
    options
      .filter(({ required }) => required)
      .map((option) => ({
        pattern: [option.short, option.long]
          .filter(Boolean)
          .map((flag) => `"${path}|${flag}"`)
          .join("|"),
        option,
      })),
  );
  const values = valued.map(
    ({ pattern, option }) =>
      `    ${pattern}) ${option.argChoices ? `next="${option.argChoices.join(" ")}"` : "files=1"} ;;`,
  );
  const next = nodes.map((node) => {
    const words = [...node.commands.map((command) => command.name()), ...node.values];
    return `    "${node.path}") next="${words.join(" ")}"; flags="${flagsOf(node).join(" ")}" ;;`;
  });
  return `_lifeboat_next() { # sets next, flags, files for the words "$@" before the one to complete
  local word at="" previous=""
  next="" flags="" files=""
  for word in "$@"; do
    case "$at $word" in
      ${paths.join("|")}) at="$at $word" ;;
    esac
    previous="$word"
  done
  case "$at|$previous" in
${values.join("\n")}
  esac
  [ -n "$next$files" ] && return
  case "$at" in
${next.join("\n")}
  esac
}`;
}

function bashScript(nodes: Node[]): string {
  return `# bash completion for lifeboat
${shellCore(nodes)}
_lifeboat() {
  local next flags files current="\${COMP_WORDS[COMP_CWORD]}"
  _lifeboat_next "\${COMP_WORDS[@]:1:COMP_CWORD-1}"
  if [ -n "$files" ]; then
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen -f -- "$current"))
    return
  fi
  case "$current" in -*) next="$flags" ;; esac
  COMPREPLY=($(compgen -W "$next" -- "$current"))
}
complete -F _lifeboat lifeboat
`;
}

function zshScript(nodes: Node[]): string {
  return `#compdef lifeboat
${shellCore(nodes)}
_lifeboat() {
  local current="\${words[CURRENT]}"
  local -a before=("\${(@)words[2,CURRENT-1]}")
  local next flags files
  _lifeboat_next "\${before[@]}"
  if [ -n "$files" ]; then _files; return; fi
  case "$current" in -*) next="$flags" ;; esac
  compadd -- \${=next}
}
compdef _lifeboat lifeboat
`;
}

function fishScript(nodes: Node[]): string {
  const quote = (text: string) => `'${text.replace(/[\\']/g, "\\$&")}'`;
  const lines = nodes.flatMap(({ path, commands, options, values }) => {
    const when = `complete -c lifeboat -n ${quote(`__lifeboat_at ${path.trim()}`.trim())}`;
    return [
      ...commands.map((command) => `${when} -a ${command.name()} -d ${quote(command.summary())}`),
      ...values.map((value) => `${when} -a ${value}`),
      ...options.map((option) => {
        const names = [option.short && `-s ${option.short.slice(1)}`, option.long && `-l ${option.long.slice(2)}`];
        const value = option.required
          ? option.argChoices
            ? `-x -a ${quote(option.argChoices.join(" "))}`
            : "-r -F"
          : undefined;
        return [when, ...names, value, `-d ${quote(option.description)}`].filter(Boolean).join(" ");
      }),
    ];
  });
  const paths = nodes.filter(({ path }) => path).map(({ path }) => quote(path.trim()));
  return `# fish completion for lifeboat
function __lifeboat_at # whether the commands on the line so far are just these
    set -l path
    for word in (commandline -opc)[2..]
        if contains -- (string join -- ' ' $path $word) ${paths.join(" ")}
            set path $path $word
        end
    end
    test "$path" = "$argv"
end
complete -c lifeboat -f
${lines.join("\n")}
`;
}
