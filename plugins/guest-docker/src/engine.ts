import { mountOf } from '@cloudos/host-tools';
import { CloudosError, type CloudosErrorOptions, messageOf } from '@cloudos/sdk';
import Docker from 'dockerode';

/** What the engine says of itself, as far as it matters here. */
export interface EngineFacts {
  readonly version: string;
  readonly cgroupVersion: string;
  readonly storageDriver: string;
  readonly memoryLimit: boolean;
  readonly cpuLimit: boolean;
  readonly pidsLimit: boolean;
  /** Whether the engine can limit a container's disk: overlay2 on xfs with project quotas, btrfs, zfs. */
  readonly diskLimit: boolean;
  readonly seccomp: boolean;
}

/** A client for the engine at that socket (Docker Engine API, https://docs.docker.com/reference/api/engine/). */
export function connect(socketPath: string): Docker {
  return new Docker({ socketPath });
}

/** @throws CloudosError RUNTIME_UNAVAILABLE when no engine answers there in that time */
export async function askEngine(docker: Docker, timeoutMs: number): Promise<EngineFacts> {
  try {
    const [version, info] = await withinTime(timeoutMs, Promise.all([docker.version(), docker.info()]));
    return {
      version: version.Version,
      cgroupVersion: String(info.CgroupVersion ?? '1'),
      storageDriver: String(info.Driver),
      memoryLimit: info.MemoryLimit === true,
      cpuLimit: info.CpuCfsQuota === true,
      pidsLimit: info.PidsLimit === true,
      diskLimit:
        ['btrfs', 'zfs'].includes(info.Driver) || (info.Driver === 'overlay2' && hasQuotas(info.DockerRootDir)),
      seccomp: ((info.SecurityOptions ?? []) as string[]).some((option) => option.includes('seccomp')),
    };
  } catch (error) {
    throw engineError(error, 'the Docker Engine does not answer');
  }
}

/** The engine does not tell; an engine of another machine, or in another mount namespace, has none that we know of. */
function hasQuotas(directory: string): boolean {
  const mount = mountOf(directory);
  return mount?.type === 'xfs' && (mount.options.has('prjquota') || mount.options.has('pquota'));
}

/** The client has no deadline of its own. */
async function withinTime<T>(timeoutMs: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What an engine's answer means: which status, or that there was none. */
export function engineError(error: unknown, about: string, options: CloudosErrorOptions = {}): CloudosError {
  if (error instanceof CloudosError) return error;
  const { code, statusCode } = error as { code?: string; statusCode?: number };
  const message = `${about}: ${messageOf(error)}`;
  if (statusCode === undefined) {
    const remedy =
      code === 'EACCES'
        ? 'Run as root, or as a member of the group docker.'
        : 'Start the engine (systemctl start docker), or let the node run one (`engine: own`): apt-get install docker.io btrfs-progs';
    return new CloudosError('RUNTIME_UNAVAILABLE', message, { cause: error, remedy, ...options });
  }
  if (/no space left on device/i.test(message)) {
    return new CloudosError('DISK_FULL', message, { cause: error, ...options });
  }
  return new CloudosError('HOST_COMMAND_FAILED', message, { cause: error, ...options });
}

/** Whether the engine has no such thing. */
export function isAbsent(error: unknown): boolean {
  return (error as { statusCode?: number }).statusCode === 404;
}

/** Runs it; undefined when the engine has no such thing. @throws CloudosError whatever else the engine says */
export async function unlessAbsent<T>(about: string, call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw engineError(error, about);
  }
}
