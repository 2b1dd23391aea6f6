import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { lambdaJobs } from "../../functions/aws/jobs.ts";
import { type InvokeApi, startInvokeApi } from "../rig/invoke.ts";
import { startProxy } from "../rig/proxy.ts";
import { rejects } from "./bucket.ts";
import { jobsConformance } from "./jobs.ts";
import { assertNotQuoted } from "./troubles.ts";

const SECRET_KEY = "the-secret-access-key";
const ENV = {
  AWS_ACCESS_KEY_ID: "RIGACCESSKEY00000000",
  AWS_SECRET_ACCESS_KEY: SECRET_KEY,
  AWS_REGION: "eu-west-1",
  AWS_EC2_METADATA_DISABLED: "true",
};

describe("Lambda", () => {
  let api: InvokeApi;
  before(() => {
    Object.assign(process.env, ENV);
  });
  after(() => {
    for (const name of [...Object.keys(ENV), "AWS_ENDPOINT_URL_LAMBDA"]) delete process.env[name];
  });

  jobsConformance(
    "Lambda's asynchronous invocation, a stand-in",
    async () => {
      api = await startInvokeApi();
      const proxy = await startProxy(api.endpoint);
      process.env.AWS_ENDPOINT_URL_LAMBDA = `http://127.0.0.1:${proxy.port}`;
      return {
        jobs: lambdaJobs({ functionName: api.functionName }),
        nowhere: lambdaJobs({ functionName: "another" }),
        received: async () => api.received,
        inTrouble: async (trouble, run) => {
          if (trouble === "unreachable") {
            proxy.cut();
            proxy.cutAfter(0);
          } else api.mood = trouble;
          await run().finally(() => {
            proxy.cutAfter(undefined);
            api.mood = "well";
          });
        },
        stop: async () => {
          await proxy.stop();
          await api.stop();
        },
      };
    },
    { largest: 1024 * 1024 },
  );

  test("the error of a refused job names the function and what to do, and holds no credential", async () => {
    await using api = await startInvokeApi();
    process.env.AWS_ENDPOINT_URL_LAMBDA = api.endpoint;
    api.mood = "denied";
    const error = await rejects("denied", lambdaJobs({ functionName: "lifeboat" }).enqueue({ kind: "backup" }));
    assert.match(error.message, /Lambda function lifeboat: AccessDeniedException: .*lambda:InvokeFunction.*HTTP 403/);
    assert.match(error.hint ?? "", /policies/);
    assertNotQuoted(error, SECRET_KEY);
  });

  test("where no function or region is named it is invalid", (t) => {
    assert.throws(() => lambdaJobs({ functionName: "" }), { kind: "invalid", message: /no Lambda function/ });
    t.after(() => Object.assign(process.env, ENV));
    delete process.env.AWS_REGION;
    assert.throws(() => lambdaJobs({ functionName: "lifeboat" }), { kind: "invalid", message: /no AWS region/ });
    lambdaJobs({ functionName: "arn:aws:lambda:eu-west-1:123456789012:function:lifeboat" });
  });
});
