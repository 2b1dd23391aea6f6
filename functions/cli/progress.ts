import { countText, durationText } from "./output.ts";

/** How far a run has come. */
export interface Standing {
  /** Objects done. */
  done: number;
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
 * plain line every five seconds. `verb` begins it: "backing up".
 */
export function startProgress(verb: string, stream: NodeJS.WriteStream = process.stderr): ProgressLine {
  const terminal = stream.isTTY === true;
  const startedAt = performance.now();
  let drawnAt = terminal ? Number.NEGATIVE_INFINITY : startedAt;
  let shown = false;
  const clear = () => {
    if (shown) stream.write("\r\u001b[K");
    shown = false;
  };
  return {
    update(standing) {
      const now = performance.now();
      if (now - drawnAt < (terminal ? REDRAW_MS : PLAIN_MS)) return;
      drawnAt = now;
      const text = `${verb}: ${standingText(standing, (now - startedAt) / 1000)}`;
      if (terminal) stream.write(`\r\u001b[K${text.slice(0, (stream.columns || 80) - 1)}`);
      else stream.write(`${text}\n`);
      shown = terminal;
    },
    line(text) {
      clear();
      stream.write(`${text}\n`);
    },
    end: clear,
  };
}

/** "12,345 objects, 5,200/s, configmaps: 8,000 left, ETA 1.5 s"; a total gives "1,200 of 3,000 objects, …". */
export function standingText({ done, total, current }: Standing, seconds: number): string {
  const rate = seconds > 0 ? done / seconds : 0;
  const remaining = total === undefined ? current?.remaining : total - done;
  const parts = [
    total === undefined ? `${countText(done)} objects` : `${countText(done)} of ${countText(total)} objects`,
  ];
  if (rate >= 1) parts.push(`${countText(Math.round(rate))}/s`);
  if (current)
    parts.push(current.remaining ? `${current.resource}: ${countText(current.remaining)} left` : current.resource);
  if (remaining && rate >= 1) parts.push(`ETA ${durationText((remaining / rate) * 1000)}`);
  return parts.join(", ");
}
