import { type ErrorKind, isLifeboatError, LifeboatError } from "../errors.ts";
import { type Check, type Judgement, QUESTIONS, type Subject } from "./document.ts";

/** The longest that one question is waited for. */
const PATIENCE_MS = 60_000;

/** What to do where an error doesn't say. */
const TODO: Record<ErrorKind, string> = {
  invalid: "correct it",
  denied: "grant it to the identity that runs this",
  missing: "create it, or correct what names it",
  conflict: "see who else works on it, and ask again",
  busy: "ask again later",
  corrupt: "see what lies between here and there",
  unreachable: "see whether it is up, and whether the network lets us through",
  timeout: "see whether it is up, and whether the network lets us through",
};

/** What a question's work gives: the answer and, for the questions after it, a value. */
export type Answer<Value = undefined> = Judgement & { value?: Value };

/** The questions about one subject, as they are asked one after the other. */
export interface Asking<Question extends string> {
  /**
   * Asks one. What the work throws is the answer "failed"; then, and where the answer has no value, undefined. Throws the
   * signal's reason, and what is no LifeboatError.
   */
  ask<Value>(question: Question, work: (signal: AbortSignal) => Promise<Answer<Value>>): Promise<Value | undefined>;
  /** All answers in the order of `QUESTIONS`; those that were not asked say so. */
  answers(): Check[];
}

/** Begins to ask about a subject. */
export function asking<S extends Subject>(
  subject: S,
  { name, signal }: { name?: string; signal: AbortSignal },
): Asking<(typeof QUESTIONS)[S][number]> {
  const judgements = new Map<string, Judgement>();
  return {
    async ask(question, work) {
      const patience = new AbortController();
      const late = new LifeboatError("timeout", `no answer in ${PATIENCE_MS / 1000} s`, {
        hint: "is the network slow?",
      });
      const timer = setTimeout(() => patience.abort(late), PATIENCE_MS);
      try {
        const { value, ...judgement } = await work(AbortSignal.any([signal, patience.signal]));
        judgements.set(question, judgement);
        return value;
      } catch (error) {
        signal.throwIfAborted();
        if (!isLifeboatError(error)) throw error;
        judgements.set(question, {
          state: "failed",
          message: error.message,
          todo: error.hint ?? TODO[error.kind],
          error: error.kind,
        });
        return undefined;
      } finally {
        clearTimeout(timer);
      }
    },
    answers: () =>
      QUESTIONS[subject].map((question) => ({
        ...{ subject, ...(name !== undefined && { name }), question },
        ...(judgements.get(question) ?? { state: "notAsked", message: "what comes before it failed" }),
      })),
  };
}
