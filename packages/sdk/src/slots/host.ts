import type { Observable } from 'rxjs';
import type { ResourceVector } from '../resources.ts';

/** What a host is and has. */
export interface HostInventory {
  /** What guests may use, after what the host keeps for itself. */
  readonly capacity: ResourceVector;
  /** Facts for constraints and for people: `os`, `os.version`, `kernel`, `arch`, `cgroup`, `hostname`, `kvm`, … */
  readonly attributes: Readonly<Record<string, string>>;
}

/** One thing that the stack needs or could use, and whether it is there. For `cloudos doctor`. */
export interface HostCheck {
  readonly name: string;
  readonly status: 'ok' | 'warning' | 'missing';
  /** What was found. */
  readonly found: string;
  /** What to do about it, where the status is not `ok`. */
  readonly remedy?: string;
}

/** The machine that a node is. */
export interface HostDriver {
  /** Emits at once, and again when anything has changed. An error or a completion means that the host is lost. */
  inventory(): Observable<HostInventory>;
  checks(): Promise<readonly HostCheck[]>;
}
