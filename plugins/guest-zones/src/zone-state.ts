import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ProcessIdentity, removeTree } from '@cloudos/host-tools';
import type { GuestSpec } from '@cloudos/sdk';
import { zoneName } from './zone-name.ts';

/** What is written down about a zone. What it does now is told by its processes and its exit record. */
export interface ZoneState {
  readonly version: 1;
  readonly spec: GuestSpec;
  /** Digest of its image, which it holds. Absent: the userland of the host. */
  readonly image?: string;
  /** The last attempt that was begun; 0 before the first. */
  readonly attempt: number;
  /** Tells that run from every other, of the same attempt too. */
  readonly launch?: string;
  /** The attempt before, which counts again when this one did not come to run. */
  readonly previousAttempt?: number;
  /** The launch that was asked to end. */
  readonly stopping?: string;
  readonly paused?: boolean;
  /** On the bridge. Kept from one run to the next where it is still free. */
  readonly address?: string;
  /** Without a bridge: port of the template → port on 127.0.0.1. */
  readonly ports?: Readonly<Record<string, number>>;
  readonly forwarder?: ProcessIdentity;
}

/** A run as the shim wrote it down before the program was let go. */
export interface ZoneRun {
  readonly launch: string;
  readonly init: ProcessIdentity;
  readonly shim: ProcessIdentity;
}

/** How a run ended as the shim wrote it down. `status` is that of sh (128 + n for signal n), or `lost`. */
export interface ZoneEnd {
  readonly launch: string;
  readonly status: number | 'lost';
  readonly oomKills: number;
}

/** How long a half-made directory is left alone: another generation of the driver may be making it. */
const halfMadeMaxAgeMs = 60_000;

/**
 * The zones of one data directory, on disk. A zone's directory appears and disappears whole, by renaming; a state is
 * replaced whole. Files of a few hundred bytes are written at once: a start would wait longer for the threads that do it
 * beside. A crash at any point leaves a zone, or a directory with a leading dot that `sweep` removes.
 */
export class ZoneStore {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  get zonesDir(): string {
    return join(this.root, 'zones');
  }

  get exitsDir(): string {
    return join(this.root, 'exits');
  }

  directory(zone: string): string {
    return join(this.zonesDir, zone);
  }

  async prepare(): Promise<void> {
    await mkdir(this.zonesDir, { recursive: true, mode: 0o700 });
    await mkdir(this.exitsDir, { recursive: true, mode: 0o700 });
  }

  /** Names of all zones. */
  async zones(): Promise<string[]> {
    try {
      return (await readdir(this.zonesDir)).filter((name) => !name.startsWith('.')).sort();
    } catch {
      return [];
    }
  }

  state(zone: string): ZoneState | undefined {
    const text = readText(join(this.directory(zone), 'state.json'));
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text) as ZoneState;
    } catch {
      return undefined;
    }
  }

  /** Makes the zone's directory with its state. */
  async make(state: ZoneState): Promise<void> {
    const zone = zoneName(state.spec.instance);
    const half = join(this.zonesDir, `.new-${zone}-${randomBytes(4).toString('hex')}`);
    mkdirSync(join(half, 'root'), { recursive: true, mode: 0o700 });
    writeFileSync(join(half, 'state.json'), JSON.stringify(state), { mode: 0o600 });
    renameSync(half, this.directory(zone));
  }

  async save(state: ZoneState): Promise<void> {
    const path = join(this.directory(zoneName(state.spec.instance)), 'state.json');
    writeFileSync(`${path}.tmp`, JSON.stringify(state), { mode: 0o600 });
    renameSync(`${path}.tmp`, path);
  }

  /** What the shim wrote of the run; undefined as long as it is not complete. */
  run(zone: string): ZoneRun | undefined {
    const words = readText(join(this.directory(zone), 'run'))?.split(/\s+/) ?? [];
    const [launch, initPid, initStart, shimPid, shimStart, end] = words;
    if (end !== 'end' || !launch || !initStart || !shimStart) return undefined;
    return {
      launch,
      init: { pid: Number(initPid), startTime: initStart },
      shim: { pid: Number(shimPid), startTime: shimStart },
    };
  }

  end(zone: string): ZoneEnd | undefined {
    const [launch, status, oomKills] = readText(join(this.exitsDir, zone))?.split(/\s+/) ?? [];
    if (!launch || status === undefined) return undefined;
    return { launch, status: status === 'lost' ? 'lost' : Number(status), oomKills: Number(oomKills ?? 0) };
  }

  /** Writes down that nobody saw how the run ended. */
  async writeLost(zone: string, launch: string): Promise<void> {
    const path = join(this.exitsDir, zone);
    await writeFile(`${path}.tmp`, `${launch} lost 0\n`);
    await rename(`${path}.tmp`, path);
  }

  async forgetRun(zone: string): Promise<void> {
    rmSync(join(this.exitsDir, zone), { force: true });
    rmSync(join(this.directory(zone), 'run'), { force: true });
  }

  async remove(zone: string): Promise<void> {
    const trash = join(this.zonesDir, `.trash-${zone}-${randomBytes(4).toString('hex')}`);
    await rename(this.directory(zone), trash).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    await rm(join(this.exitsDir, zone), { force: true });
    await removeTree(trash);
  }

  /** Removes what a crash left half made or half removed. */
  async sweep(now: number): Promise<void> {
    for (const name of await readdir(this.zonesDir).catch(() => [])) {
      if (!name.startsWith('.')) continue;
      const path = join(this.zonesDir, name);
      const age = now - ((await stat(path).catch(() => undefined))?.mtimeMs ?? 0);
      if (name.startsWith('.trash-') || age > halfMadeMaxAgeMs) await removeTree(path);
    }
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
