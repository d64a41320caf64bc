import { CloudosError, describeIssues } from '@cloudos/sdk';
import { z } from 'zod';
import type { CommandResult, HostCommands } from './host-commands.ts';

/** Where SmartOS has its tools. */
export const tools = {
  vmadm: '/usr/sbin/vmadm',
  imgadm: '/usr/sbin/imgadm',
  zlogin: '/usr/sbin/zlogin',
  kstat: '/usr/bin/kstat',
  zonename: '/usr/bin/zonename',
} as const;

/** What is read of a VM as `vmadm get` shows it (vmadm(8), "Properties"); the rest is let be. */
const vmObject = z.object({
  uuid: z.string(),
  state: z.string(),
  brand: z.string().optional(),
  zoneid: z.number().optional(),
  zonepath: z.string().optional(),
  pid: z.number().optional(),
  /** Of the last run: the exit code, or the negative number of a signal. Absent while it runs and before the first run. */
  exit_status: z.number().optional(),
  /** When the last run ended. */
  exit_timestamp: z.string().optional(),
  tags: z.record(z.string(), z.unknown()).default({}),
  nics: z.array(z.object({ ip: z.string().optional() })).default([]),
  snapshots: z.array(z.object({ name: z.string(), size: z.number().optional() })).default([]),
});
export type VmObject = z.infer<typeof vmObject>;

const imageManifest = z.object({
  manifest: z.object({
    uuid: z.string(),
    type: z.string(),
    tags: z.record(z.string(), z.unknown()).default({}),
  }),
});
export type ImageManifest = z.infer<typeof imageManifest>['manifest'];

/** What `vmadm lookup` shall tell: not all, because some of it takes long to find out. */
const fields = Object.keys(vmObject.shape).join(',');

/** imgadm(8) ends so when an image is not installed. */
const imageNotInstalled = 3;

/** vmadm(8) and imgadm(8), as far as guests need them. */
export class Vmadm {
  readonly #commands: HostCommands;

  constructor(commands: HostCommands) {
    this.#commands = commands;
  }

  /** Undefined: there is no such VM. */
  async get(uuid: string): Promise<VmObject | undefined> {
    const argv = [tools.vmadm, 'get', uuid];
    const result = await this.#commands.run(argv);
    if (result.exitCode === 0) return parsed(vmObject, result.stdout, argv);
    if (/No such zone configured/.test(result.stderr)) return undefined;
    throw failure(argv, result);
  }

  /** Every VM of the machine, made by us or not. */
  async all(): Promise<VmObject[]> {
    const argv = [tools.vmadm, 'lookup', '-j', '-o', fields];
    const result = await this.#commands.run(argv);
    if (result.exitCode === 0) return parsed(z.array(vmObject), result.stdout, argv);
    throw failure(argv, result);
  }

  /** @throws CloudosError IMAGE_NOT_FOUND */
  async image(uuid: string): Promise<ImageManifest> {
    const argv = [tools.imgadm, 'get', uuid];
    const result = await this.#commands.run(argv);
    if (result.exitCode === 0) return parsed(imageManifest, result.stdout, argv).manifest;
    if (result.exitCode !== imageNotInstalled) throw failure(argv, result);
    throw new CloudosError('IMAGE_NOT_FOUND', `the image ${uuid} is not installed on this machine`, {
      remedy: `imgadm import ${uuid}`,
    });
  }

  create(payload: Readonly<Record<string, unknown>>): Promise<void> {
    return this.#do([tools.vmadm, 'create'], payload);
  }

  update(uuid: string, payload: Readonly<Record<string, unknown>>): Promise<void> {
    return this.#do([tools.vmadm, 'update', uuid], payload);
  }

  /** Resolves when it runs. One that runs already is let be. */
  start(uuid: string): Promise<void> {
    return this.#do([tools.vmadm, 'start', uuid]);
  }

  /** Resolves when it does not run any more: SIGTERM to its first process, and SIGKILL after the seconds. */
  stop(uuid: string, seconds: number): Promise<void> {
    return this.#do([tools.vmadm, 'stop', uuid, '-t', String(seconds)]);
  }

  /** Resolves when it does not run any more, without asking it. */
  halt(uuid: string): Promise<void> {
    return this.#do([tools.vmadm, 'stop', uuid, '-F']);
  }

  delete(uuid: string): Promise<void> {
    return this.#do([tools.vmadm, 'delete', uuid]);
  }

  createSnapshot(uuid: string, name: string): Promise<void> {
    return this.#do([tools.vmadm, 'create-snapshot', uuid, name]);
  }

  deleteSnapshot(uuid: string, name: string): Promise<void> {
    return this.#do([tools.vmadm, 'delete-snapshot', uuid, name]);
  }

  /** Removes later snapshots. It runs afterwards, whether it did before or not. */
  rollbackSnapshot(uuid: string, name: string): Promise<void> {
    return this.#do([tools.vmadm, 'rollback-snapshot', uuid, name]);
  }

  async #do(argv: readonly string[], payload?: Readonly<Record<string, unknown>>): Promise<void> {
    const result = await this.#commands.run(argv, payload && JSON.stringify(payload));
    if (result.exitCode !== 0) throw failure(argv, result);
  }
}

function parsed<Shape extends z.ZodType>(shape: Shape, text: string, argv: readonly string[]): z.infer<Shape> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new CloudosError('HOST_COMMAND_FAILED', `${argv.join(' ')} printed no JSON: ${text.slice(0, 200)}`, {
      cause: error,
    });
  }
  const result = shape.safeParse(json);
  if (result.success) return result.data;
  throw new CloudosError('HOST_COMMAND_FAILED', `${argv.join(' ')}: ${describeIssues(result.error, json)}`);
}

/** What a failed command means. */
function failure(argv: readonly string[], { exitCode, stderr }: CommandResult): CloudosError {
  const said = stderr.trim().slice(-2_000) || 'nothing';
  const message = `${argv.join(' ')} ended with ${exitCode}: ${said}`;
  if (/out of space|No space left on device|quota exceeded/i.test(stderr)) {
    return new CloudosError('DISK_FULL', message, { remedy: 'make room in the zpool: zfs list -o space' });
  }
  const isRefused = /^(Invalid|Missing|payload) |Invalid value|Missing required propert/m.test(stderr);
  return new CloudosError(isRefused ? 'GUEST_SPEC_INVALID' : 'HOST_COMMAND_FAILED', message);
}
