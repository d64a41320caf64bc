import { importsOf, packageOf } from './source-text.ts';
import { type Files, isSpecFile, type Project, parse, projectsOf } from './workspace.ts';

const anything = ['*'];

/** Which packages each layer may import. Dependencies point one way: plugin → sdk; kernel → plugin-bus, event-log, sdk. */
export const mayImport: Readonly<Record<string, readonly string[]>> = {
  sdk: [],
  'event-log': ['sdk'],
  'plugin-bus': ['sdk'],
  placement: ['sdk'],
  'yarn-scheduler': ['placement', 'sdk'],
  'host-tools': ['sdk'],
  images: ['host-tools', 'sdk'],
  'node-network': ['host-tools', 'sdk'],
  qemu: ['host-tools', 'images', 'node-network', 'sdk'],
  'test-images': ['host-tools', 'images', 'sdk'],
  'native-api': ['sdk'],
  client: ['sdk'],
  conformance: ['sdk'],
  kernel: ['plugin-bus', 'event-log', 'sdk'],
  gateway: ['kernel', 'client', 'sdk'],
  'what-if': ['kernel', 'sdk'],
  cli: ['what-if', 'kernel', 'gateway', 'client', 'plugin-bus', 'event-log', 'images', 'sdk'],
  testing: ['kernel', 'plugin-bus', 'event-log', 'host-tools', 'sdk'],
  plugin: ['sdk'],
  tools: anything,
  test: anything,
};

/** What plugins of a slot may import beside the sdk. */
const bySlot: Readonly<Record<string, readonly string[]>> = {
  log: ['event-log'],
  resources: ['placement', 'yarn-scheduler'],
  guest: ['host-tools', 'images', 'node-network', 'qemu'],
  host: ['host-tools'],
  api: ['native-api', 'yarn-scheduler'],
};
/** What every spec may import beside what its package may. */
const forSpecs = ['conformance', 'testing', 'event-log', 'test-images'];

/** The packages of the workspace that a source of the project may import. */
export function allowedFor(project: Project, isTest: boolean): readonly string[] {
  const slot = project.name.split('-')[0] ?? '';
  const base = [...(mayImport[project.layer] ?? []), ...(project.layer === 'plugin' ? (bySlot[slot] ?? []) : [])];
  return isTest ? [...base, ...forSpecs] : base;
}

/** No import crosses a boundary, and none reaches into the inside of another package. */
export function boundaryViolations(files: Files): string[] {
  const projects = projectsOf(files);
  const plugins = new Set(projects.filter(({ layer }) => layer === 'plugin').map(({ name }) => name));
  return projects.flatMap((project) => {
    if (!mayImport[project.layer])
      return [`${project.folder}: layer ${project.layer} is not in the table of boundaries`];
    return project.sources.flatMap((source) => {
      const allowed = allowedFor(project, source.isTest);
      return importsOf(source.text).flatMap((module) => {
        if (module.startsWith('.')) return leavesProject(project, source.path, module);
        if (!module.startsWith('@cloudos/')) return [];
        const name = packageOf(module)?.slice('@cloudos/'.length) ?? '';
        if (module !== `@cloudos/${name}` && !(source.isTest && isExported(module, name, projects))) {
          return [`${source.path} imports ${module}: only the package itself is public`];
        }
        // Specs of packages that are not plugins may run the real plugins.
        if (source.isTest && project.layer !== 'plugin' && plugins.has(name)) return [];
        if (name === project.name || allowed.includes('*') || allowed.includes(name)) return [];
        return [`${source.path} imports ${module}: ${project.layer} may import ${allowed.join(', ') || 'nothing'}`];
      });
    });
  });
}

/** Packages may export helpers for the specs of others under a path of their own. */
function isExported(module: string, name: string, projects: readonly Project[]): boolean {
  const exported = projects.find((project) => project.name === name)?.manifest.exports ?? {};
  return `.${module.slice(`@cloudos/${name}`.length)}` in exported;
}

function leavesProject(project: Project, path: string, module: string): string[] {
  const target = new URL(module, `file:///${path}`).pathname.slice(1);
  if (target.startsWith(`${project.folder}/`)) return [];
  return [`${path} imports ${module}, which is outside of ${project.folder}`];
}

/** The container is the kernel's alone. */
export function containerViolations(files: Files): string[] {
  return projectsOf(files)
    .filter(({ name }) => name !== 'kernel')
    .flatMap(({ sources }) => sources)
    .filter(({ text }) => importsOf(text).some((module) => module === 'inversify' || module === 'reflect-metadata'))
    .map(({ path }) => `${path} imports inversify: only the kernel's composition root does`);
}

/** Every project says its layer to nx as the table does. */
export function tagViolations(files: Files): string[] {
  return projectsOf(files).flatMap(({ folder, layer, manifest }) => {
    const wanted = `layer:${layer}`;
    return manifest.nx?.tags?.includes(wanted) ? [] : [`${folder}/package.json: nx.tags must contain "${wanted}"`];
  });
}

interface TsConfig {
  readonly references?: readonly { readonly path: string }[];
}

/** The references of each tsconfig are the packages that its sources import; the root one has every project. */
export function referenceViolations(files: Files): string[] {
  const projects = projectsOf(files);
  const byName = new Map(projects.map((project) => [project.manifest.name, project]));
  const rootPaths = new Set(referencesAt('', files));
  const unlisted = projects
    .filter(({ folder }) => !rootPaths.has(folder))
    .map(({ folder }) => `tsconfig.json: ${folder} is missing in references`);
  const wrong = projects.flatMap((project) => {
    const referenced = new Set(referencesAt(project.folder, files));
    const used = new Set<string>();
    for (const source of project.sources.filter(({ path }) => !isSpecFile(path))) {
      for (const module of importsOf(source.text)) {
        const target = byName.get(packageOf(module) ?? '');
        if (target && target !== project) used.add(target.folder);
      }
    }
    const declared = { ...project.manifest.dependencies, ...project.manifest.devDependencies };
    const known = new Set(Object.keys(declared).flatMap((name) => byName.get(name)?.folder ?? []));
    return [
      ...[...used].filter((folder) => !referenced.has(folder)).map((folder) => `${folder} is imported and missing`),
      ...[...referenced].filter((folder) => !known.has(folder)).map((folder) => `${folder} is no dependency`),
    ].map((text) => `${project.folder}/tsconfig.json: references: ${text}`);
  });
  return [...unlisted, ...wrong];
}

function referencesAt(folder: string, files: Files): string[] {
  const config = parse<TsConfig>(files, folder === '' ? 'tsconfig.json' : `${folder}/tsconfig.json`);
  return (config?.references ?? []).map(({ path }) =>
    new URL(path, `file:///${folder === '' ? '' : `${folder}/`}`).pathname.slice(1).replace(/\/$/, ''),
  );
}
