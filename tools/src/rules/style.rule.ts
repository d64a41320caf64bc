import { at, codeOnly } from './source-text.ts';
import { type Files, projectsOf } from './workspace.ts';

/** Longest source file. Most are under 300 lines. */
export const linesMax = 400;

function codeFiles(files: Files): [path: string, text: string][] {
  return [...files].filter(([path]) => /\.(ts|mjs)$/.test(path) && /^(packages|plugins|tools|test)\//.test(path));
}

export function lengthViolations(files: Files): string[] {
  return codeFiles(files).flatMap(([path, text]) => {
    const lines = text.split('\n').length - 1;
    return lines > linesMax ? [`${path} has ${lines} lines, at most ${linesMax}: one idea a file`] : [];
  });
}

export function nameViolations(files: Files): string[] {
  const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*$/;
  return codeFiles(files).flatMap(([path]) =>
    path.split('/').every((part) => kebab.test(part)) ? [] : [`${path}: names are kebab-case`],
  );
}

/** After a colon, in type arguments, in a union, or as a cast. */
const typedAny = new RegExp(`(?:[:<,|&]|\\bas)\\s*${'any'}\\b(?!\\s*[:(])`, 'g');

export function anyViolations(files: Files): string[] {
  return projectsOf(files)
    .flatMap(({ sources }) => sources)
    .flatMap(({ path, text }) => {
      const code = codeOnly(text);
      return [...code.matchAll(typedAny)].map(
        (match) => `${at(path, code, match.index)}: the type any hides mistakes, unknown asks for a check`,
      );
    });
}

export function barrelViolations(files: Files): string[] {
  return projectsOf(files)
    .flatMap(({ sources }) => sources)
    .flatMap(({ path, text }) =>
      [...codeOnly(text).matchAll(/^\s*export \*/gm)].map(
        (match) => `${at(path, text, match.index)}: export * makes everything public; name what is`,
      ),
    );
}

const unfinished = new RegExp(
  `\\b(?:${['TO', 'DO'].join('')}|${['FIX', 'ME'].join('')}|${['XX', 'X'].join('')})\\b`,
  'g',
);
const machinePath = new RegExp(`(?<![\\w.-])/(?:${['wo', 'rk'].join('')}|home)/[a-z]`, 'g');

/** Nothing unfinished, and nothing that holds on one machine only. */
export function leftoverViolations(files: Files): string[] {
  return [...files].flatMap(([path, text]) => [
    ...[...text.matchAll(unfinished)].map((match) => `${at(path, text, match.index)}: ${match[0]} is unfinished work`),
    ...[...text.matchAll(machinePath)].map(
      (match) => `${at(path, text, match.index)}: ${match[0]}… is a path of one machine`,
    ),
  ]);
}
