import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type CloudReferences, eksRegion, isClusterHost } from "../../core/kube/clouds.ts";

suite("a host of", () => {
  const HOSTS: [cloud: keyof CloudReferences, host: string, is: boolean][] = [
    ["eks", "0123abcd.gr7.eu-west-1.eks.amazonaws.com", true],
    ["eks", "0123abcd.gr7.us-gov-west-1.eks.amazonaws.com", true],
    ["eks", "0123abcd.yl4.cn-north-1.eks.amazonaws.com.cn", true],
    ["eks", "0123abcd.gr7.us-isob-east-1.eks.sc2s.sgov.gov", true],
    ["eks", "0123abcd.gr7.eks-cluster.eu-west-1.api.aws", true],
    ["eks", "0123abcd.gr7.eks-cluster.cn-north-1.api.amazonwebservices.com.cn", true],
    ["eks", "abc.execute-api.eu-west-1.api.aws", false],
    ["eks", "abc.lambda-url.eu-west-1.on.aws", false],
    ["eks", "0123abcd.gr7.eu-west-1.elb.amazonaws.com", false],
    ["eks", "0123abcd.gr7.eu-west-1.eks.amazonaws.com.evil.com", false],
    ["eks", "0123abcd.gr7.eu-west-1.eks.amazonaws.com.", false],
    ["eks", "0123abcd.gr7.eu-west-1.eks.amazonaws.com.cn", false],
    ["eks", "eu-west-1.eks-amazonaws.com", false],
    ["eks", "eu-west-1.eks.amazonaws.com", false],
    ["eks", "10.0.0.1", false],
    ["aks", "prod-0123abcd.hcp.westeurope.azmk8s.io", true],
    ["aks", "prod-0123abcd.01234567.privatelink.westeurope.azmk8s.io", true],
    ["aks", "prod-0123abcd.hcp.chinaeast2.cx.prod.service.azk8s.cn", true],
    ["aks", "prod-0123abcd.hcp.usgovvirginia.cx.aks.containerservice.azure.us", true],
    ["aks", "azmk8s.io", false],
    ["aks", "evilazmk8s.io", false],
    ["aks", "x.azmk8s.io.evil.com", false],
    ["aks", "10.0.0.1", false],
    ["gke", "gke-0123abcd-123456789012.europe-west1.gke.goog", true],
    ["gke", "34.1.2.3", true],
    ["gke", "[2600:1900::1]", true],
    ["gke", "x.gke.goog.evil.com", false],
    ["gke", "storage.googleapis.com", false],
    ["gke", "34.1.2.3.evil.com", false],
  ];
  for (const [cloud, host, is] of HOSTS) {
    test(`${cloud} ${host} is ${is ? "" : "not"}`, () => assert.equal(isClusterHost(cloud, host), is));
  }
});

test("an EKS host tells its region, whatever is written before it", () => {
  assert.equal(eksRegion("0123abcd.gr7.eu-west-1.eks.amazonaws.com"), "eu-west-1");
  assert.equal(eksRegion("us-east-1.eu-west-1.eks.amazonaws.com"), undefined);
});
