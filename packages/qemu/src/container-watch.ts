import {
  closeSync,
  constants,
  type FSWatcher,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  watch,
  writeFileSync,
} from 'node:fs';
import type { GuestContainerChange } from '@cloudos/sdk';
import { Subject } from 'rxjs';
import { containerStatuses, readChanges, recordPath, statusesPath } from './container-status.ts';
import { furtherContainers } from './vm-containers.ts';
import type { Vm } from './vm-flavour.ts';

/** A record that is longer is cut: what it says of each container is kept beside it. */
const recordMaxBytes = 64 * 1024;
const readBytes = 16 * 1024;

interface Followed {
  readonly launch: string;
  readonly names: readonly string[];
  readonly watcher: FSWatcher | undefined;
  /** Bytes of the record that were told of; whole lines. */
  told: number;
}

/**
 * Follows what the agents of running machines record of containers beside the first. A record is told from its beginning
 * when its machine is found: what somebody has heard of before is told again.
 */
export class ContainerWatch {
  readonly #changes = new Subject<GuestContainerChange>();
  readonly changes = this.#changes.asObservable();
  readonly #followed = new Map<string, Followed>();

  /** Tells what is new of a machine that runs. */
  follow(vm: Vm): void {
    const { launch, spec } = vm.state;
    const names = furtherContainers(spec);
    if (launch === undefined || names.length === 0) return;
    if (this.#followed.get(vm.name)?.launch !== launch) {
      this.forget(vm.name);
      this.#followed.set(vm.name, { launch, names, watcher: this.#watch(vm), told: 0 });
    }
    this.#read(vm);
  }

  forget(name: string): void {
    this.#followed.get(name)?.watcher?.close();
    this.#followed.delete(name);
  }

  forgetAll(): void {
    for (const name of [...this.#followed.keys()]) this.forget(name);
  }

  /** Where that fails, machines are looked at from time to time all the same. */
  #watch(vm: Vm): FSWatcher | undefined {
    try {
      const watcher = watch(recordPath(vm), { persistent: false }, () => this.#read(vm));
      watcher.on('error', () => {});
      return watcher;
    } catch {
      return undefined;
    }
  }

  #read(vm: Vm): void {
    const followed = this.#followed.get(vm.name);
    if (!followed || followed.launch !== vm.state.launch) return;
    const { text, size } = readFrom(recordPath(vm), followed.told);
    // Somebody else has cut it.
    if (size < followed.told) followed.told = 0;
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    followed.told += Buffer.byteLength(whole);
    const { instance } = vm.state.spec;
    const { attempt } = vm.state;
    for (const change of readChanges(whole, followed.names)) this.#changes.next({ instance, attempt, ...change });
    if (followed.told > recordMaxBytes) this.#cut(vm, followed);
  }

  /** A line that comes in between is lost: its container is right again with its next one. */
  #cut(vm: Vm, followed: Followed): void {
    const { launch } = followed;
    writeFileSync(statusesPath(vm), JSON.stringify({ launch, statuses: containerStatuses(vm) }), { mode: 0o600 });
    const file = openOwn(recordPath(vm), constants.O_RDWR);
    if (file === undefined) return;
    ftruncateSync(file, 0);
    closeSync(file);
    followed.told = 0;
  }
}

/** What QEMU may have put in the place of the record (a link, a pipe) is not followed, and not waited for. */
function openOwn(path: string, flags: number): number | undefined {
  let file: number;
  try {
    file = openSync(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  const status = fstatSync(file);
  if (status.isFile() && status.nlink === 1) return file;
  closeSync(file);
  return undefined;
}

function readFrom(path: string, position: number): { text: string; size: number } {
  const file = openOwn(path, constants.O_RDONLY);
  if (file === undefined) return { text: '', size: position };
  try {
    const { size } = fstatSync(file);
    const buffer = Buffer.alloc(readBytes);
    let text = '';
    for (let at = size < position ? 0 : position; at < size; ) {
      const got = readSync(file, buffer, 0, readBytes, at);
      if (got === 0) break;
      text += buffer.toString('latin1', 0, got);
      at += got;
    }
    return { text, size };
  } finally {
    closeSync(file);
  }
}
