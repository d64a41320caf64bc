import { readVector, type Shape, width } from '@cloudos/placement';
import type { ResourceBounds, ResourceVector } from '@cloudos/sdk';

/** Amounts of resources: the plain ones side by side, named ones in a map that is absent where there are none. */
export class Bundle {
  readonly plain = new Float64Array(width);
  custom: Map<string, number> | undefined;

  static of(vector: ResourceVector): Bundle {
    const bundle = new Bundle();
    bundle.plain.set([vector.cpuMillis, vector.memoryBytes, vector.diskBytes, vector.pids]);
    for (const [name, amount] of Object.entries(vector.custom ?? {})) bundle.addCustom(name, amount);
    return bundle;
  }

  /** @param absent what an amount that is not given stands for */
  static ofBounds(bounds: ResourceBounds, absent: number): Bundle {
    const { cpuMillis = absent, memoryBytes = absent, diskBytes = absent, pids = absent, custom = {} } = bounds;
    return Bundle.of({ cpuMillis, memoryBytes, diskBytes, pids, custom });
  }

  get vector(): ResourceVector {
    const custom = [...(this.custom ?? [])].filter(([, amount]) => amount > 0).sort(([a], [b]) => (a < b ? -1 : 1));
    return { ...readVector(this.plain, 0), ...(custom.length > 0 ? { custom: Object.fromEntries(custom) } : {}) };
  }

  get isEmpty(): boolean {
    if (this.plain.some((amount) => amount > 0)) return false;
    return this.custom === undefined || [...this.custom.values()].every((amount) => amount <= 0);
  }

  amountOf(name: string): number {
    return this.custom?.get(name) ?? 0;
  }

  addCustom(name: string, amount: number): void {
    this.custom ??= new Map();
    this.custom.set(name, (this.custom.get(name) ?? 0) + amount);
  }

  add(other: Bundle, by: number): this {
    for (let dimension = 0; dimension < width; dimension++) this.plain[dimension]! += by * other.plain[dimension]!;
    if (other.custom) for (const [name, amount] of other.custom) this.addCustom(name, by * amount);
    return this;
  }

  addShape(shape: Shape, by: number): this {
    this.plain[0]! += by * shape.cpu;
    this.plain[1]! += by * shape.memory;
    this.plain[2]! += by * shape.disk;
    this.plain[3]! += by * shape.pids;
    for (const [name, amount] of shape.custom) this.addCustom(name, by * amount);
    return this;
  }

  /** Nothing below zero. */
  floor(): this {
    for (let dimension = 0; dimension < width; dimension++) {
      if (this.plain[dimension]! < 0) this.plain[dimension] = 0;
    }
    for (const [name, amount] of this.custom ?? []) if (amount < 0) this.custom!.set(name, 0);
    return this;
  }

  /** What both have, resource by resource. */
  min(other: Bundle): Bundle {
    const least = new Bundle();
    for (let dimension = 0; dimension < width; dimension++) {
      least.plain[dimension] = Math.min(this.plain[dimension]!, other.plain[dimension]!);
    }
    for (const [name, amount] of this.custom ?? []) {
      const common = Math.min(amount, other.amountOf(name));
      if (common > 0) least.addCustom(name, common);
    }
    return least;
  }

  covers(other: Bundle): boolean {
    for (let dimension = 0; dimension < width; dimension++) {
      if (this.plain[dimension]! < other.plain[dimension]!) return false;
    }
    for (const [name, amount] of other.custom ?? []) if (this.amountOf(name) < amount) return false;
    return true;
  }

  coversShape(shape: Shape): boolean {
    const { plain } = this;
    return (
      (plain[0]! >= shape.cpu || shape.cpu === 0) &&
      (plain[1]! >= shape.memory || shape.memory === 0) &&
      (plain[2]! >= shape.disk || shape.disk === 0) &&
      (plain[3]! >= shape.pids || shape.pids === 0) &&
      shape.custom.every(([name, amount]) => this.amountOf(name) >= amount)
    );
  }

  copy(): Bundle {
    return new Bundle().add(this, 1);
  }
}
