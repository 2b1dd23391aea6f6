import { LifeboatError } from "../errors.ts";

const FACTORS: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

const QUANTITY = /^(?<value>[-+]?(?:\d+\.?\d*|\.\d+))(?:(?<unit>[KMGTPE]i|[numkMGTPE]?)|(?<exponent>[eE][-+]?\d+))$/;

/**
 * A Kubernetes quantity ("10Gi", "1.5e3", "100m") as a number: of a volume's capacity, its bytes. Exact up to 2^53, as near as
 * a double comes beyond. Throws `invalid` for anything else.
 */
export function parseQuantity(text: string): number {
  const { value, unit = "", exponent = "" } = QUANTITY.exec(text)?.groups ?? {};
  if (value === undefined) {
    throw new LifeboatError("invalid", `"${text}" is not a quantity`, {
      hint: 'write it as Kubernetes does: "10Gi", "500M", "1.5Ti"',
    });
  }
  return exponent ? Number(value + exponent) : Number(value) * FACTORS[unit]!;
}

/** A whole number of bytes as a quantity in the largest binary unit of which it is a multiple, as Go writes it: "1536Mi". */
export function binaryQuantity(bytes: number): string {
  const unit = ["Ei", "Pi", "Ti", "Gi", "Mi", "Ki"].find((name) => bytes > 0 && bytes % FACTORS[name]! === 0);
  return unit ? `${bytes / FACTORS[unit]!}${unit}` : String(bytes);
}
