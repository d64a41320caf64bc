import { resolve } from 'node:path';
import {
  formOf,
  type Image,
  ImageStore,
  type ImageSummary,
  type ImportForm,
  importForms,
  importImage,
} from '@cloudos/images';
import { CloudosError } from '@cloudos/sdk';
import { type Command, Option } from 'commander';
import type { CliContext } from '../context.ts';
import { list as listOption, outputOption } from '../options.ts';
import { age, bytes, plural } from '../output/format.ts';
import { ProgressBar } from '../output/progress-bar.ts';
import { printStructured } from '../output/structured.ts';
import { Table } from '../output/table.ts';
import { makeStateDir, stateDirOf } from '../state-dir.ts';

interface ImportCommandOptions {
  readonly reference?: string;
  readonly as?: ImportForm;
  readonly entrypoint?: string[];
  readonly cmd?: string[];
  readonly env?: string[];
  readonly insecureRegistry?: boolean;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly kernelArgs?: string;
  readonly clonable?: boolean;
  readonly output: string;
}

/** image import, list, inspect, remove, gc: on the image store of the state directory, with or without a kernel. */
export function addImage(program: Command, context: CliContext): void {
  const image = program
    .command('image')
    .description('images for guests: import, list, inspect, remove, collect garbage')
    .addHelpText('after', '\nExamples:\n  cloudos image import rootfs.tar.xz --reference app:1\n  cloudos image list');

  image
    .command('import')
    .description('store an image: an archive, a directory, a unikernel, a disk, or one from a registry')
    .argument('<source>', 'a path, or a name such as docker.io/library/busybox:1 (needs skopeo)')
    .option('--reference <name:tag>', 'what to call it (default: as the source calls it, or after the file)')
    .addOption(new Option('--as <form>', 'what the source is (default: found out)').choices([...importForms]))
    .option('--entrypoint <words>', 'for a root file system: what is run, separated by commas', listOption)
    .option('--cmd <words>', 'for a root file system: arguments when none are given, separated by commas', listOption)
    .option('--env <name=value>', 'for a root file system: a variable; more than once', gathered)
    .option('--insecure-registry', 'the registry may speak plain HTTP, or have a certificate that nobody vouches for')
    .option('--kernel <file>', 'for a disk: a kernel that starts it, in the place of a boot loader')
    .option('--initrd <file>', 'for a disk with --kernel: its initial file system')
    .option('--clonable', 'for a disk: a boot makes nothing that only one machine may have; others begin as its copies')
    .option('--kernel-args <line>', 'for a disk with --kernel: its command line, such as "root=/dev/vda console=ttyS0"')
    .addOption(outputOption('table', 'json', 'yaml', 'name'))
    .addHelpText('after', importHelp)
    .action((source: string, options: ImportCommandOptions) => importFrom(context, source, options));

  image
    .command('list')
    .alias('ls')
    .description('list what is stored, and who uses it')
    .addOption(outputOption('table', 'json', 'yaml', 'name'))
    .action((options: { output: string }) => listImages(context, options.output));

  image
    .command('inspect')
    .description('tell all about an image')
    .argument('<image>', 'name:tag, or sha256:<digest>')
    .addOption(new Option('-o, --output <form>', 'how to print the result').choices(['json', 'yaml']).default('yaml'))
    .action((name: string, options: { output: 'json' | 'yaml' }) => inspect(context, name, options.output));

  image
    .command('remove')
    .alias('rm')
    .description('take the name from an image; its content goes with the next gc')
    .argument('<image...>', 'name:tag, or sha256:<digest>')
    .action(async (names: string[]) => {
      for (const name of names) {
        await store(context).remove(name);
        context.terminal.line(`${name} removed`);
      }
    });

  image
    .command('gc')
    .description('remove what has neither a name nor a guest, and what crashes left')
    .addOption(outputOption('table', 'json'))
    .action((options: { output: string }) => collect(context, options.output));
}

const importHelp = `
Forms: an OCI layout (directory or archive), what \`docker save\` wrote, a root file system (directory, or tar with gzip,
zstd, xz or bzip2), the ELF file of a unikernel, a disk (qcow2, or raw with partitions), a name in a registry. The image
host: is the userland of the host and is always there.

Examples:
  cloudos image import busybox.tar --reference busybox:1
  cloudos image import ./rootfs --reference app:1 --entrypoint /bin/app,--verbose
  cloudos image import counter.elf
  cloudos image import disk.img --as disk --kernel vmlinuz --initrd initrd.img --kernel-args "root=/dev/vda console=ttyS0"
  cloudos image import docker.io/library/alpine:3.20
  cloudos image import docker://127.0.0.1:5000/app:1 --insecure-registry`;

function gathered(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

function store(context: CliContext): ImageStore {
  return ImageStore.of(stateDirOf(context));
}

async function importFrom(context: CliContext, source: string, options: ImportCommandOptions): Promise<void> {
  const { terminal } = context;
  await makeStateDir(stateDirOf(context));
  const path = resolve(context.cwd, source);
  const form = options.as ?? (await formOf(path).catch((error: unknown) => formOrName(source, error)));
  const shown = terminal.interactive && options.output === 'table';
  const bar = new ProgressBar(terminal, shown);
  try {
    const images = await importImage(
      store(context),
      { from: form === 'registry' ? source : path, form },
      {
        reference: options.reference,
        insecureRegistry: options.insecureRegistry,
        program: programOf(options),
        ...bootOf(context, options),
        clonable: options.clonable,
        ...(shown && { onProgress: ({ what, doneBytes, totalBytes }) => bar.show(what, doneBytes, totalBytes) }),
      },
    );
    bar.clear();
    for (const image of images) if (options.output === 'table') terminal.line(importedLine(image));
    printOther(context, images, options.output);
  } finally {
    bar.clear();
  }
}

/** What is no path may be a name in a registry; what looks like a path is not. */
function formOrName(source: string, error: unknown): ImportForm {
  if (/^[./]/.test(source) || !(error instanceof CloudosError) || error.code !== 'IMAGE_NOT_FOUND') throw error;
  return 'registry';
}

function programOf({ entrypoint, cmd, env }: ImportCommandOptions) {
  const variables = (env ?? []).map(
    (text) => [text.split('=', 1)[0] ?? '', text.slice(text.indexOf('=') + 1)] as const,
  );
  return {
    ...(entrypoint ? { entrypoint } : {}),
    ...(cmd ? { cmd } : {}),
    ...(variables.length > 0 ? { env: Object.fromEntries(variables) } : {}),
  };
}

function bootOf({ cwd }: CliContext, { kernel, initrd, kernelArgs }: ImportCommandOptions) {
  if (kernel === undefined) return {};
  const more = initrd === undefined ? {} : { initrd: resolve(cwd, initrd) };
  return { boot: { kernel: resolve(cwd, kernel), commandLine: kernelArgs, ...more } };
}

function importedLine(image: Image): string {
  if (image.kind === 'host') return 'host: is the userland of the host';
  return `${image.reference} imported: ${image.kind}, ${bytes(image.sizeBytes)}, ${shortDigest(image.digest)}`;
}

function printOther({ terminal }: CliContext, images: readonly { reference: string }[], output: string): void {
  if (output === 'name') for (const { reference } of images) terminal.line(reference);
  if (output === 'json' || output === 'yaml') printStructured(terminal, images, output);
}

async function listImages(context: CliContext, output: string): Promise<void> {
  const { terminal } = context;
  const images = await store(context).list();
  if (output !== 'table') return printOther(context, images, output);
  if (images.length === 0) return terminal.note('No images are stored. The userland of the host is the image host:.');
  const now = Date.now();
  const columns = [
    { header: 'IMAGE', value: ({ reference }: ImageSummary) => reference },
    { header: 'KIND', value: ({ kind }: ImageSummary) => kind },
    { header: 'SIZE', value: ({ sizeBytes }: ImageSummary) => bytes(sizeBytes) },
    { header: 'DIGEST', value: ({ digest }: ImageSummary) => shortDigest(digest) },
    { header: 'AGE', value: ({ importedAt }: ImageSummary) => (importedAt ? age(now - Date.parse(importedAt)) : '-') },
    { header: 'GUESTS', value: ({ holders }: ImageSummary) => String(holders.length) },
    { header: 'FORMS', value: ({ derived }: ImageSummary) => derived.join(', ') || '-' },
  ];
  for (const line of new Table(columns, terminal.colors).render(images)) terminal.line(line);
}

async function inspect(context: CliContext, name: string, output: 'json' | 'yaml'): Promise<void> {
  const images = store(context);
  const image = await images.resolve(name);
  const summaries = image.kind === 'host' ? [] : await images.list();
  const same = summaries.filter(({ digest }) => image.kind !== 'host' && digest === image.digest);
  const more = {
    references: same.map(({ reference }) => reference),
    derived: same[0]?.derived ?? [],
    holders: same[0]?.holders ?? [],
  };
  printStructured(context.terminal, image.kind === 'host' ? image : { ...image, ...more }, output);
}

async function collect(context: CliContext, output: string): Promise<void> {
  const { terminal } = context;
  const report = await store(context).gc();
  if (output === 'json') return printStructured(terminal, report, 'json');
  terminal.line(
    `removed ${plural(report.images.length, 'image')} and ${plural(report.blobs, 'blob')}, freed ${bytes(report.freedBytes)}`,
  );
}

function shortDigest(digest: string): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12);
}
