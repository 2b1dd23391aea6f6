/** What a copy that is under way does at the moment. */
export interface Doing {
  /** What others may do, too: a clause with its claim as the subject, "waits for its snapshot to be cut". */
  what: string;
  /** Why it does that still, as far as is known. */
  why?: string;
  /** How far it has come, of as much as is known so far. */
  progress?: { bytes: number; totalBytes: number };
}

export const ITS_TURN: Doing = { what: "waits for its turn" };

/** Hears what a copy does from now on. */
export type Tell = (doing: Doing) => void;

/** Keeps what was told last. */
export function lastTold(): { tell: Tell; doing: () => Doing | undefined } {
  let last: Doing | undefined;
  return {
    tell: (doing) => {
      last = doing;
    },
    doing: () => last,
  };
}
