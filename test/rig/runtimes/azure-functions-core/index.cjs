/**
 * A stand-in of the module that the Azure Functions host gives its workers: it keeps what an app registers, for
 * azure-host.ts to read.
 */
const registered = new Map();
let model;

class Disposable {
  #dispose;
  constructor(dispose) {
    this.#dispose = dispose;
  }
  dispose() {
    this.#dispose();
  }
}

module.exports = {
  version: "4.0.0",
  hostVersion: "4.1000.0",
  Disposable,
  registered,
  registerFunction(metadata, callback) {
    if (registered.has(metadata.name)) throw new Error(`a function "${metadata.name}" is registered already`);
    registered.set(metadata.name, { metadata, callback });
    return new Disposable(() => registered.delete(metadata.name));
  },
  setProgrammingModel: (given) => {
    model = given;
  },
  getProgrammingModel: () => model,
  registerHook() {
    throw new Error("this stand-in of the host runs no hooks");
  },
  log: (level, _category, message) => process.stdout.write(`${level}: ${message}\n`),
};
