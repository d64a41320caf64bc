import { hostName, resolveEnvironment } from '@cloudos/host-tools';
import { commandLine, type OciImage } from '@cloudos/images';
import { type Fields, mountFields, type VmImages } from '@cloudos/qemu';
import { CloudosError, type GuestContainer, type GuestSpec } from '@cloudos/sdk';

/** What is kept about one container: what its image says, as it was when the guest was made. */
export interface Program {
  readonly digest: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly user: number;
}

/** What is kept about a guest: its first container, and the others in the order of the template. */
export interface Own extends Program {
  readonly containers: readonly Program[];
}

/** What is asked for one container, the first or another. */
type Asked = Pick<GuestContainer, 'image' | 'command' | 'args' | 'workingDir' | 'env' | 'user'>;

/** The containers of a guest, the first included. */
export function containersOf({ template }: GuestSpec): readonly Asked[] {
  return [template, ...(template.containers ?? [])];
}

/** What runs in each container. @throws CloudosError GUEST_SPEC_INVALID, IMAGE_NOT_FOUND, IMAGE_UNSUITABLE */
export async function admitContainers(spec: GuestSpec, images: VmImages): Promise<Own> {
  const programs: Program[] = [];
  for (const asked of containersOf(spec)) programs.push(await admit(spec.instance, asked, images));
  const [first, ...containers] = programs;
  if (!first) throw new CloudosError('GUEST_SPEC_INVALID', `${spec.instance} has no container`);
  return { ...first, containers };
}

async function admit(instance: string, asked: Asked, images: VmImages): Promise<Program> {
  const refuse = (what: string): never => {
    throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${what}`);
  };
  if (asked.workingDir !== undefined && !asked.workingDir.startsWith('/')) {
    refuse(`the working directory ${asked.workingDir} is not an absolute path`);
  }
  const { digest, program }: OciImage = await images.find(asked.image, 'oci', 'a guest in a tiny VM');
  const command = commandLine(asked, program);
  if (command.length === 0) refuse(`the image ${asked.image} has no program of its own; give a command`);
  const user = Number.parseInt(program.user || '0', 10);
  return {
    digest,
    command,
    env: program.env,
    workingDir: program.workingDir,
    user: Number.isInteger(user) ? user : 0,
  };
}

/** Digests of the images that a guest needs, each once. */
export function imagesOf({ digest, containers }: Own): string[] {
  return [...new Set([digest, ...containers.map((container) => container.digest)])];
}

/** Environment, directory and user of a container. Secrets are read now. @throws CloudosError SECRET_NOT_FOUND */
export async function defaultsOf(spec: GuestSpec, own: Own, index: number, stateDir: string) {
  const asked = containersOf(spec)[index];
  const program = index === 0 ? own : own.containers[index - 1];
  if (!asked || !program) throw new CloudosError('GUEST_NOT_FOUND', `${spec.instance} has no container ${index}`);
  const user = asked.user ?? program.user;
  const env = {
    HOME: user === 0 ? '/root' : '/',
    HOSTNAME: spec.template.hostname ?? hostName(spec.instance),
    ...program.env,
    ...(await resolveEnvironment(stateDir, asked.env)),
  };
  return { env, workingDir: asked.workingDir ?? program.workingDir, user, container: index, command: program.command };
}

/** What the agent is told of the program of a container. */
export async function programFields(spec: GuestSpec, own: Own, index: number, stateDir: string): Promise<Fields> {
  const { command, env, workingDir, user } = await defaultsOf(spec, own, index, stateDir);
  return [
    ...command.map((word) => ['arg', word] as const),
    ...Object.entries(env).map(([name, value]) => ['env', `${name}=${value}`] as const),
    ['cwd', workingDir],
    ['user', String(user)],
    ...mountFields(spec, index),
    ...(index === 0 ? limitsOfGuest(spec) : limitsOfContainer(spec, index)),
  ];
}

function limitsOfGuest({ template }: GuestSpec): Fields {
  const { pids, diskBytes } = template.limits;
  return [
    ...(pids > 0 ? [['pids', String(pids)] as const] : []),
    ...(diskBytes > 0 ? [['disk', String(diskBytes)] as const] : []),
    ...(template.readOnlyRoot ? [['readonly', '1'] as const] : []),
  ];
}

function limitsOfContainer({ template }: GuestSpec, index: number): Fields {
  const { limits, readOnlyRoot } = template.containers?.[index - 1] ?? {};
  return [
    ['container', String(index)],
    ['restart', template.restart],
    ...(limits?.memoryBytes ? [['memory', String(limits.memoryBytes)] as const] : []),
    ...(limits?.pids ? [['pids', String(limits.pids)] as const] : []),
    ...(readOnlyRoot ? [['readonly', '1'] as const] : []),
  ];
}
