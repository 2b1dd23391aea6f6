import { BlockList, isIP, isIPv6 } from "node:net";

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

/**
 * Whether a host, as a URL or an address has it, is this machine as itself alone sees it. Of names that is
 * "localhost"; "localhost." is left to the name servers, so it is not.
 */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  if (!isIP(bare)) return host.toLowerCase() === "localhost";
  return LOOPBACK.check(bare, isIPv6(bare) ? "ipv6" : "ipv4");
}
