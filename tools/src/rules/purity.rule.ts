import { at, codeOnly, importsOf, withoutComments } from './source-text.ts';
import { type Files, projectsOf } from './workspace.ts';

/** Policies, and what they are made of: the same events must give the same decisions, on any machine at any time. */
function isPure(name: string): boolean {
  return /^(resources|orchestrator|migration)-/.test(name) || ['placement', 'yarn-scheduler'].includes(name);
}

const impure: readonly (readonly [what: string, pattern: RegExp])[] = [
  ['the clock', /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.now\b|\bprocess\.hrtime\b/g],
  ['randomness', /\bMath\.random\b|\bcrypto\.|\bnewId\b|\brandomUUID\b/g],
  ['timers', /\b(?:setTimeout|setInterval|setImmediate|queueMicrotask)\b|\bsystemClock\b/g],
  ['the world', /\bprocess\.(?!hrtime)|\bfetch\(|\bconsole\./g],
  ['promises', /\basync\b|\bawait\b|\bPromise\./g],
];

/** No clock, no randomness, no I/O, nothing asynchronous in a policy. Its declaration (`plugin.ts`) is no part of it. */
export function purityViolations(files: Files): string[] {
  return projectsOf(files)
    .filter(({ name }) => isPure(name))
    .flatMap(({ sources }) => sources.filter(({ isTest }) => !isTest))
    .flatMap(({ path, text }) => {
      const code = codeOnly(text);
      const uses = impure.flatMap(([what, pattern]) =>
        [...code.matchAll(pattern)].map((match) => `${at(path, code, match.index)} uses ${what}: ${match[0]}`),
      );
      const modules = importsOf(withoutComments(text))
        .filter((module) => module.startsWith('node:'))
        .map((module) => `${path} imports ${module}: a policy does no I/O`);
      return [...(path.endsWith('/plugin.ts') ? [] : uses), ...modules];
    });
}
