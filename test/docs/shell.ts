/** One simple command of a shell script: its words without quotes, and the line on which it begins. */
export interface ShellCommand {
  words: string[];
  line: number;
}

const TOKENS: readonly [string, RegExp][] = [
  ["continuation", /\\\n/y],
  ["blank", /[ \t]+/y],
  ["heredoc", /<<-?[ \t]*(['"]?)(\w+)\1/y],
  ["redirection", /\d*(?:>>|>&|&>|<|>)/y],
  ["end", /\n|;;?|&&?|\|\|?|[(){}](?=\s|$)|\)/y],
  ["single", /'([^']*)'/y],
  ["substitution", /\$\(/y],
  ["variable", /\$\{[^}]*\}/y],
  ["escaped", /\\(.)/y],
  ["double", /"/y],
  ["text", /[^\s'"\\$;&|()<>]+|[$(]/y],
];

const KEYWORDS = new Set(["do", "then", "else", "if", "while", "until", "!", "time", "done", "fi", "esac"]);

/**
 * The simple commands of a script in the order in which they stand, those in `$(…)` before the one that they are part of.
 * Redirections and the bodies of here-documents are no words. The script must be one that `bash -n` takes.
 */
export function commandsOf(script: string, firstLine = 1): ShellCommand[] {
  const found: ShellCommand[] = [];
  let at = 0;
  let line = firstLine;
  let heredocs: string[] = [];

  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(script);
    if (!match) return undefined;
    at += match[0].length;
    line += match[0].split("\n").length - 1;
    return match;
  };
  const token = (quoted: boolean): [string, RegExpExecArray] => {
    const all = quoted ? TOKENS.filter(([kind]) => QUOTED.has(kind)) : TOKENS;
    for (const [kind, pattern] of all) {
      const match = take(pattern);
      if (match) return [kind, match];
    }
    return ["text", take(/[\s\S]/y)!];
  };
  const substitution = (): string => {
    const start = at;
    list(")");
    return `$(${script.slice(start, at)}`;
  };
  const doubleQuoted = (): string => {
    let word = "";
    for (;;) {
      const [kind, match] = token(true);
      if (kind === "double") return word;
      if (kind === "substitution") word += substitution();
      else if (kind === "escaped") word += /["$`\\]/.test(match[1]!) ? match[1] : match[0];
      else if (kind !== "continuation") word += match[0];
    }
  };

  function list(until?: string): void {
    let words: string[] = [];
    let word: string | undefined;
    let redirected = false;
    let start = line;
    const endWord = () => {
      if (word !== undefined && !redirected) words.push(word);
      if (word !== undefined) redirected = false;
      word = undefined;
    };
    const endCommand = () => {
      endWord();
      while (KEYWORDS.has(words[0] ?? "")) words.shift();
      if (words.length > 0) found.push({ words, line: start });
      words = [];
    };
    while (at < script.length) {
      if (word === undefined && take(/#[^\n]*/y)) continue;
      if (words.length === 0 && word === undefined) start = line;
      const [kind, match] = token(false);
      if (kind === "blank") endWord();
      else if (kind === "heredoc") heredocs.push(match[2]!);
      else if (kind === "redirection") {
        endWord();
        redirected = true;
      } else if (kind === "end") {
        endCommand();
        if (match[0] === until) return;
        if (match[0] === "\n") {
          for (const name of heredocs) take(new RegExp(`[\\s\\S]*?^\\t*${name}$\\n?`, "my"));
          heredocs = [];
        }
      } else if (kind === "single" || kind === "escaped") word = (word ?? "") + match[1];
      else if (kind === "double") word = (word ?? "") + doubleQuoted();
      else if (kind === "substitution") word = (word ?? "") + substitution();
      else if (kind !== "continuation") word = (word ?? "") + match[0];
    }
    endCommand();
  }

  list();
  return found;
}

const QUOTED = new Set(["continuation", "substitution", "variable", "escaped", "double"]);
