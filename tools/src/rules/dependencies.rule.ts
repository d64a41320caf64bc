import { importsOf, packageOf, withoutComments } from './source-text.ts';
import { type Files, type Manifest, type Project, parse, projectsOf } from './workspace.ts';

/** Every import is a declared dependency, and every declared dependency is used. */
export function dependencyViolations(files: Files): string[] {
  const root = parse<Manifest>(files, 'package.json');
  const shared = new Set(Object.keys({ ...root?.dependencies, ...root?.devDependencies }));
  return projectsOf(files).flatMap((project) => [...missing(project, shared), ...unused(project, files)]);
}

function missing(project: Project, shared: ReadonlySet<string>): string[] {
  const { dependencies = {}, devDependencies = {}, peerDependencies = {} } = project.manifest;
  const forTests = new Set([...Object.keys({ ...dependencies, ...devDependencies, ...peerDependencies }), ...shared]);
  const forCode = new Set(Object.keys({ ...dependencies, ...peerDependencies }));
  const found = new Set<string>();
  for (const { path, text, isTest } of project.sources) {
    for (const module of importsOf(text)) {
      const name = packageOf(module);
      if (!name || name === project.manifest.name) continue;
      if ((isTest ? forTests : forCode).has(name)) continue;
      found.add(
        `${project.folder}/package.json: ${isTest ? 'devDependencies' : 'dependencies'} lacks ${name} (${path})`,
      );
    }
  }
  return [...found];
}

function unused(project: Project, files: Files): string[] {
  const { dependencies = {}, devDependencies = {} } = project.manifest;
  const inCode = namesIn(project, files, false);
  const anywhere = new Set([...inCode, ...namesIn(project, files, true)]);
  const inTests = project.folder === 'test';
  const isUsed = (name: string, used: ReadonlySet<string>) => used.has(name) || used.has(name.replace(/^@types\//, ''));
  return [
    ...Object.keys(dependencies)
      .filter((name) => !isUsed(name, inTests ? anywhere : inCode))
      .map((name) => `${project.folder}/package.json: dependencies has ${name}, which no source uses`),
    ...Object.keys(devDependencies)
      .filter((name) => !isUsed(name, anywhere))
      .map((name) => `${project.folder}/package.json: devDependencies has ${name}, which nothing uses`),
  ];
}

/** Packages that are imported, or named in a string: plugins are loaded by name. */
function namesIn(project: Project, files: Files, tests: boolean): Set<string> {
  const texts = project.sources.filter(({ isTest }) => isTest === tests).map(({ text }) => text);
  // beside the sources: what a package runs, and what its specs run
  const besides = tests ? /\/src\/.*\.mjs$/ : /\/bin\//;
  for (const [path, text] of files) {
    if (path.startsWith(`${project.folder}/`) && besides.test(path)) texts.push(text);
  }
  return new Set(
    texts.flatMap((text) => [
      ...importsOf(text).map((module) => packageOf(module) ?? ''),
      ...[...withoutComments(text).matchAll(/['"`](@cloudos\/[a-z0-9-]+)['"`]/g)].map((match) => match[1] ?? ''),
    ]),
  );
}
