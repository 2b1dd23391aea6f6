import { countText, durationText } from "./output.ts";

/** How far a run has come. */
export interface Standing {
  /** Objects done, or what `noun` says. */
  done: number;
  noun?: string;
  /** Objects in all, where that is known. */
  total?: number;
  /** What is being read now, and how much of it is left, where that is known. */
  current?: { resource: string; remaining: number | undefined };
}

export interface ProgressLine {
  update(standing: Standing): void;
  /** A line of text above the progress. */
  line(text: string): void;
  /** Takes the progress away. */
  end(): void;
}

const REDRAW_MS = 100;
const PLAIN_MS = 5000;

/**
 * Shows how a run goes, on stderr: on a terminal as one line that is redrawn at most ten times a second, elsewhere as a
 * plain line every five seconds. `verb` begins it: "backing up". `first` is shown on a terminal until there is a standing.
 */
export function startProgress(verb: string, first: string, stream: NodeJS.WriteStream = process.stderr): ProgressLine {
  const terminal = stream.isTTY === true;
  let drawnAt = terminal ? Number.NEGATIVE_INFINITY : performance.now();
  let begun: { at: number; done: number } | undefined;
  let shown = "";
  const draw = (text: string) => {
    stream.write(`\r\u001b[K${`${verb}: ${text}`.slice(0, (stream.columns || 80) - 1)}`);
    shown = text;
  };
  const clear = () => {
    if (shown) stream.write("\r\u001b[K");
    shown = "";
  };
  if (terminal) draw(first);
  return {
    update(standing) {
      const now = performance.now();
      begun ??= { at: now, done: standing.done };
      if (now - drawnAt < (terminal ? REDRAW_MS : PLAIN_MS)) return;
      drawnAt = now;
      const seconds = (now - begun.at) / 1000;
      const text = standingText(standing, seconds > 0 ? (standing.done - begun.done) / seconds : 0);
      if (terminal) draw(text);
      else stream.write(`${verb}: ${text}\n`);
    },
    line(text) {
      const below = shown;
      clear();
      stream.write(`${text}\n`);
      if (below) draw(below);
    },
    end: clear,
  };
}

/** With objects per second: "12,345 objects, 5,200/s, configmaps: 8,000 left, ETA 1.5 s"; a total gives "1,200 of 3,000 objects, …". */
export function standingText({ done, total, current, noun = "objects" }: Standing, rate: number): string {
  const remaining = total === undefined ? current?.remaining : total - done;
  const parts = [
    total === undefined ? `${countText(done)} ${noun}` : `${countText(done)} of ${countText(total)} ${noun}`,
  ];
  if (rate >= 1) parts.push(`${countText(Math.round(rate))}/s`);
  if (current)
    parts.push(current.remaining ? `${current.resource}: ${countText(current.remaining)} left` : current.resource);
  if (remaining && rate >= 1) parts.push(`ETA ${durationText((remaining / rate) * 1000)}`);
  return parts.join(", ");
}
