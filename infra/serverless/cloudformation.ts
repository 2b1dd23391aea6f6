import { createHash } from "node:crypto";

/** The functions. */
export const JOBS = ["backup", "restore", "retention"] as const;
export type Job = (typeof JOBS)[number];

/** What CloudFormation makes a text of. */
export type Text = string | { "Fn::Sub": string } | { "Fn::GetAtt": [string, string] } | { Ref: string };

/** Of a policy of IAM. */
export interface Statement {
  Sid: string;
  Effect: "Allow" | "Deny";
  Action: string[];
  Resource: Text[];
  Condition?: object;
}

export const att = (id: string, name = "Arn"): Text => ({ "Fn::GetAtt": [id, name] });
export const sub = (pattern: string) => ({ "Fn::Sub": pattern });
export const arn = (service: string, resource: string) =>
  sub(`arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:${resource}`);
export const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);
/** CloudFormation's names have letters and digits only. One with capital letters of its own is told from the others by a digest. */
export const logicalId = (...names: string[]) =>
  names
    .map((name) => {
      const plain = capital(name.replaceAll("-", "Dash").replaceAll("_", "Underscore"));
      return /[A-Z]/.test(name)
        ? `${plain}Named${createHash("sha256").update(name).digest("hex").slice(0, 12)}`
        : plain;
    })
    .join("");
export const allow = (Sid: string, Action: string[], Resource: Text[], Condition?: object): Statement => ({
  ...{ Sid, Effect: "Allow", Action, Resource },
  ...(Condition && { Condition }),
});
