/** The Agent alone: undici's index also loads fetch, WebSockets, caches and mocks (14 MB and half of the import time). */
declare module "undici/lib/dispatcher/agent.js" {
  import { Agent } from "undici";
  // biome-ignore lint/style/noDefaultExport: the module is CommonJS, whose whole export is the class
  export default Agent;
}
