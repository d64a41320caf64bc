import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { defineConfig, type ViteUserConfig } from 'vitest/config';
import type { Reporter, TestModule } from 'vitest/node';

/**
 * What every project's tests share: packages resolve to their sources, and results are written for the summary.
 * @param reports folder for the results: one for each part of a project that runs by itself
 */
export function projectConfig(overrides: ViteUserConfig['test'] = {}, reports = 'reports'): ViteUserConfig {
  return defineConfig({
    resolve: { conditions: ['@cloudos/source'] },
    ssr: { resolve: { conditions: ['@cloudos/source'] } },
    test: {
      include: ['src/**/*.spec.ts'],
      reporters: ['default', 'json', skipReasons(reports)],
      outputFile: { json: `${reports}/test.json` },
      passWithNoTests: true,
      // Bounds against what never ends, far beyond what anything takes, also on a busy machine.
      testTimeout: 120_000,
      hookTimeout: 120_000,
      // Vitest's own second is less than what a busy machine may take to get to what is polled for.
      expect: { poll: { timeout: 60_000, interval: 20 } },
      // Spec files that work on the machine itself (ports, namespaces, disks) run one after another.
      fileParallelism: !usesTheMachine(),
      ...overrides,
    },
  });
}

function usesTheMachine(): boolean {
  if (!existsSync('src')) return false;
  return readdirSync('src', { recursive: true }).some((file) => String(file).endsWith('.int.spec.ts'));
}

/** Writes why tests were skipped while they ran (`context.skip(…, reason)`): the JSON report leaves it out. */
const skipReasons = (folder: string): Reporter => ({
  onTestRunEnd(modules: readonly TestModule[]) {
    const reasons: Record<string, string> = {};
    for (const module of modules) {
      for (const test of module.children.allTests('skipped')) {
        const result = test.result();
        if (result.state === 'skipped' && result.note) reasons[test.fullName.replaceAll(' > ', ' ')] = result.note;
      }
    }
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/skips.json`, JSON.stringify(reasons));
  },
});
