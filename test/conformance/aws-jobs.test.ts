import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { stateMachineJobs } from "../../functions/aws/jobs.ts";
import { type Moto, startMoto } from "../rig/moto.ts";
import { startProxy } from "../rig/proxy.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type Begun, begunOnMoto } from "../rig/statemachine.ts";
import { rejects } from "./bucket.ts";
import { jobsConformance } from "./jobs.ts";
import { assertNotQuoted } from "./troubles.ts";

describe("Step Functions", { skip: requireOrSkip("rig", ["moto"]) }, () => {
  let moto: Moto;
  let begun: Begun;
  before(async () => {
    moto = await startMoto();
    Object.assign(process.env, moto.env);
    begun = await begunOnMoto(moto);
  });
  after(async () => {
    for (const name of Object.keys(moto?.env ?? {})) delete process.env[name];
    await moto?.stop();
  });

  jobsConformance(
    "executions of a state machine on moto",
    async () => {
      const proxy = await startProxy(moto.endpoint);
      process.env.AWS_ENDPOINT_URL_SFN = `http://127.0.0.1:${proxy.port}`;
      return {
        jobs: stateMachineJobs({ stateMachine: begun.machine }),
        nowhere: stateMachineJobs({ stateMachine: `${begun.machine}-another` }),
        received: begun.received,
        inTrouble: async (trouble, run) => {
          if (trouble === "denied") await moto.refuse(true);
          else if (trouble === "silent") moto.pause(true);
          else {
            proxy.cut();
            proxy.cutAfter(0);
          }
          await run().finally(() => {
            proxy.cutAfter(undefined);
            if (trouble === "silent") moto.pause(false);
          });
          await moto.refuse(false);
        },
        stop: async () => {
          delete process.env.AWS_ENDPOINT_URL_SFN;
          await proxy.stop();
        },
      };
    },
    { largest: 250_000 },
  );

  test("the error of a refused job names the machine, and holds no credential", async (t) => {
    t.after(() => moto.refuse(false));
    await moto.refuse(true);
    const jobs = stateMachineJobs({ stateMachine: begun.machine });
    const error = await rejects("denied", jobs.enqueue({ kind: "backup" }));
    // moto says why in XML, which this protocol doesn't have.
    assert.match(error.message, /^can't enqueue a job at the state machine arn:.*:lifeboat-backup: .*HTTP 403/);
    assertNotQuoted(error, moto.env.AWS_SECRET_ACCESS_KEY ?? "");
  });
});

test("where no state machine is named it is invalid", () => {
  for (const stateMachine of ["", "lifeboat"])
    assert.throws(() => stateMachineJobs({ stateMachine }), { kind: "invalid", message: /no state machine/ });
});
