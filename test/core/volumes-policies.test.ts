import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { readPolicies } from "../../core/backup/policies.ts";
import { isLifeboatError } from "../../core/errors.ts";
import { fieldsAt } from "../../core/objects/fields.ts";
import { matchPolicy, type PolicySubject, volumeType } from "../../core/volumes/policies.ts";

const read = (text: string) => readPolicies(`version: v1\nvolumePolicies:\n${text}`, "f").volumePolicies ?? [];

const pv = (spec: object): KubernetesObject => ({
  apiVersion: "v1",
  kind: "PersistentVolume",
  metadata: { name: "pv" },
  spec: { capacity: { storage: "10Gi" }, ...spec },
});
const pvc = (labels: Record<string, string>, spec: object = {}, phase = "Bound"): KubernetesObject => ({
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  metadata: { name: "data", namespace: "shop", labels },
  spec,
  status: { phase },
});

const EBS = pv({
  storageClassName: "gp3",
  csi: { driver: "ebs.csi.aws.com", volumeHandle: "vol-1", volumeAttributes: { encrypted: "true", tier: "1" } },
});
const NFS = pv({ nfs: { server: "nas.example", path: "/exports/a" } });

describe("a volume policy's conditions", () => {
  const CASES: [conditions: string, subject: PolicySubject, matches: boolean][] = [
    ["{}", { volume: EBS }, true],
    ["{}", { claim: pvc({}, {}, "Pending") }, true],
    ["null", { podVolume: { name: "a", emptyDir: {} } }, true],

    ['{ capacity: "" }', { volume: EBS }, true],
    ['{ capacity: "," }', { volume: EBS }, true],
    ['{ capacity: "10Gi,10Gi" }', { volume: EBS }, true],
    ['{ capacity: "10Gi," }', { volume: EBS }, true],
    ['{ capacity: " , 10Gi" }', { volume: EBS }, true],
    ['{ capacity: "10.1Gi," }', { volume: EBS }, false],
    ['{ capacity: ",10G" }', { volume: EBS }, false],
    ['{ capacity: "1Gi,5Gi" }', { volume: EBS }, false],
    ['{ capacity: "1Gi," }', { claim: pvc({}, {}, "Pending") }, false],
    ['{ capacity: ",1Gi" }', { claim: pvc({}, {}, "Pending") }, true],

    ["{ storageClass: [gp2, gp3] }", { volume: EBS }, true],
    ["{ storageClass: [] }", { volume: EBS }, true],
    ["{ storageClass: [gp2] }", { volume: EBS }, false],
    ['{ storageClass: [""] }', { volume: NFS }, false],
    ["{ storageClass: [gp3] }", { claim: pvc({}, { storageClassName: "gp3" }, "Pending") }, false],

    ["{ nfs: {} }", { volume: NFS }, true],
    ["{ nfs: {} }", { volume: EBS }, false],
    ["{ nfs: { server: nas.example } }", { volume: NFS }, true],
    ["{ nfs: { server: other } }", { volume: NFS }, false],
    ["{ nfs: { path: /exports/a } }", { volume: NFS }, true],
    ["{ nfs: { path: /exports } }", { volume: NFS }, false],
    ["{ nfs: { server: other, path: /exports/a } }", { volume: NFS }, false],
    ["{ nfs: {} }", { podVolume: { name: "a", nfs: { server: "nas.example", path: "/" } } }, true],

    ["{ csi: {} }", { volume: EBS }, true],
    ["{ csi: {} }", { volume: NFS }, false],
    ["{ csi: { driver: ebs.csi.aws.com } }", { volume: EBS }, true],
    ["{ csi: { driver: efs.csi.aws.com } }", { volume: EBS }, false],
    ["{ csi: { driver: ebs.csi.aws.com, volumeAttributes: { encrypted: true, tier: 1 } } }", { volume: EBS }, true],
    ["{ csi: { driver: ebs.csi.aws.com, volumeAttributes: { tier: '2' } } }", { volume: EBS }, false],
    ["{ csi: { driver: ebs.csi.aws.com, volumeAttributes: { other: a } } }", { volume: EBS }, false],

    ["{ volumeTypes: [nfs, csi] }", { volume: EBS }, true],
    ["{ volumeTypes: [nfs] }", { volume: EBS }, false],
    ["{ volumeTypes: [emptyDir] }", { podVolume: { name: "a", emptyDir: {} } }, true],
    ["{ volumeTypes: [storageOS] }", { volume: pv({ storageos: { volumeName: "a" } }) }, true],
    ["{ volumeTypes: [csi] }", { claim: pvc({}, {}, "Pending") }, false],

    ["{ pvcLabels: { app: db } }", { volume: EBS, claim: pvc({ app: "db", tier: "a" }) }, true],
    ["{ pvcLabels: { app: db, tier: b } }", { volume: EBS, claim: pvc({ app: "db", tier: "a" }) }, false],
    ["{ pvcLabels: { keep: false } }", { volume: EBS, claim: pvc({ keep: "false" }) }, true],
    ["{ pvcLabels: { constructor: a } }", { volume: EBS, claim: pvc({}) }, false],
    ["{ pvcLabels: { app: db } }", { podVolume: { name: "a", emptyDir: {} } }, false],

    ["{ pvcPhase: [Pending, Lost] }", { claim: pvc({}, {}, "Lost") }, true],
    ["{ pvcPhase: [Pending] }", { volume: EBS, claim: pvc({}) }, false],
    ['{ pvcPhase: [""] }', { podVolume: { name: "a", emptyDir: {} } }, false],

    ["{ pvcVolumeMode: Block }", { volume: EBS, claim: pvc({}, { volumeMode: "Block" }) }, true],
    ["{ pvcVolumeMode: Block }", { volume: EBS, claim: pvc({}, { volumeMode: "Filesystem" }) }, false],
    ["{ pvcVolumeMode: Filesystem }", { volume: EBS, claim: pvc({}) }, false],
    ['{ pvcVolumeMode: "" }', { volume: EBS, claim: pvc({}) }, true],

    [
      "{ pvcAccessModes: [ReadOnlyMany, ReadWriteOnce] }",
      { volume: EBS, claim: pvc({}, { accessModes: ["ReadWriteOnce", "ReadOnlyMany"] }) },
      true,
    ],
    [
      "{ pvcAccessModes: [ReadWriteOnce] }",
      { volume: EBS, claim: pvc({}, { accessModes: ["ReadWriteOnce", "ReadOnlyMany"] }) },
      false,
    ],
    ["{ pvcAccessModes: [ReadWriteOnce] }", { volume: EBS, claim: pvc({}) }, false],

    ['{ storageClass: [gp3], capacity: "1Gi," }', { volume: EBS, claim: pvc({ app: "db" }) }, true],
    ["{ storageClass: [gp3], pvcLabels: { app: web } }", { volume: EBS, claim: pvc({ app: "db" }) }, false],
  ];
  for (const [conditions, subject, matches] of CASES) {
    const { name = "a claim alone" } = subject.podVolume ?? { name: volumeType(fieldsAt(subject.volume, "spec")) };
    it(`${conditions} ${matches ? "match" : "don't match"} ${name}`, () => {
      const found = matchPolicy(read(`- { conditions: ${conditions}, action: { type: skip } }`), subject);
      assert.equal(found !== undefined, matches);
    });
  }
});

describe("volume policies", () => {
  it("the first that matches wins, and says its place", () => {
    const policies = read(`
- { conditions: { storageClass: [gp2] }, action: { type: skip } }
- { conditions: { csi: {} }, action: { type: snapshot, parameters: { snapshotClass: fast, dataMover: velero, own: 1 } } }
- { action: { type: fs-backup } }`);
    assert.deepEqual(matchPolicy(policies, { volume: EBS }), {
      place: 1,
      action: { type: "snapshot", parameters: { snapshotClass: "fast", dataMover: "velero", own: 1 } },
    });
    assert.deepEqual(matchPolicy(policies, { volume: NFS }), { place: 2, action: { type: "fs-backup" } });
    assert.equal(matchPolicy(policies.slice(0, 1), { volume: NFS }), undefined);
    assert.equal(matchPolicy([], { volume: NFS }), undefined);
  });

  it("actions of other tools keep their parameters", () => {
    const [policy] = read("- { action: { type: custom, parameters: { tool: { a: [1] } } } }");
    assert.deepEqual(policy?.action, { type: "custom", parameters: { tool: { a: [1] } } });
  });

  const REFUSED: [policy: string, told: RegExp][] = [
    ["{}", /volumePolicies\.0\.action: is missing/],
    ["{ action: { type: copy } }", /0\.action\.type: should be one of skip, snapshot, fs-backup, custom/],
    ["{ action: { type: skip }, condition: {} }", /unknown field "condition": did you mean conditions\?/],
    ["{ action: { type: skip, parameter: {} } }", /unknown field "parameter": did you mean parameters\?/],
    [
      "{ conditions: { storageClasses: [a] }, action: { type: skip } }",
      /"storageClasses": did you mean storageClass\?/,
    ],
    ["{ conditions: { storageClass: gp2 }, action: { type: skip } }", /storageClass: should be a list, not a text/],
    ["{ conditions: { capacity: 10Gi }, action: { type: skip } }", /capacity: should be two quantities/],
    ['{ conditions: { capacity: "1,2,3" }, action: { type: skip } }', /capacity: should be two quantities/],
    ['{ conditions: { capacity: "10GB," }, action: { type: skip } }', /capacity: "10GB" is not a quantity/],
    ['{ conditions: { capacity: "2Gi,1Gi" }, action: { type: skip } }', /capacity: begins above its end/],
    [
      "{ conditions: { nfs: { host: a } }, action: { type: skip } }",
      /nfs: unknown field "host", known are server, path/,
    ],
    ["{ conditions: { csi: { volumeAttributes: { a: b } } }, action: { type: skip } }", /csi: needs a driver/],
    [
      "{ conditions: { volumeTypes: [ebs] }, action: { type: skip } }",
      /volumeTypes\.0: should be one of awsAzureDisk, /,
    ],
    ["{ conditions: { pvcLabels: [a] }, action: { type: skip } }", /pvcLabels: should be a mapping, not a list/],
    [
      "{ conditions: { pvcVolumeMode: [Block] }, action: { type: skip } }",
      /pvcVolumeMode: should be a text, not a list/,
    ],
    ["{ action: { type: snapshot, parameters: { snapshotClass: '' } } }", /parameters\.snapshotClass: is empty/],
    ["{ action: { type: snapshot, parameters: { dataMover: kopia } } }", /parameters\.dataMover: should be one of/],
    ["{ action: { type: skip, parameters: { snapshotClass: a } } }", /snapshotClass: goes with the action snapshot/],
  ];
  for (const [policy, told] of REFUSED) {
    it(`refuse ${policy}`, () => {
      assert.throws(
        () => read(`- ${policy}`),
        (error) => isLifeboatError(error, "invalid") && told.test(error.message),
      );
    });
  }
});
