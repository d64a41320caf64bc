import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { filesBelow, root } from './workspace.mjs';

/** Where the runs of a project leave what they came to: tests that run apart from the others have a folder of their own. */
const reportFolders = ['reports', 'reports-apart'];
const reportsOf = (folder) => reportFolders.map((name) => join(root, folder, name));

/** Removes what earlier runs reported, so that a project that never ran cannot look as if it had. */
export function clearReports(projects) {
  for (const reports of projects.flatMap(({ folder }) => reportsOf(folder))) {
    rmSync(join(reports, 'test.json'), { force: true });
    rmSync(join(reports, 'skips.json'), { force: true });
  }
}

/**
 * What the tests of a project came to. A missing report, a spec file missing in it, and a spec file that could not be
 * loaded are failures.
 */
export function readReport({ name, folder }, { whole = true } = {}) {
  const specs = filesBelow(join(root, folder, 'src')).filter((file) => file.endsWith('.spec.ts'));
  const there = reportsOf(folder).filter((reports) => existsSync(join(reports, 'test.json')));
  if (there.length === 0) {
    return specs.length === 0 ? emptyResult() : failure(`${name}: the test run left no report (did it build?)`);
  }
  const reasons = Object.assign({}, ...there.map((reports) => readJson(join(reports, 'skips.json'))));
  const report = joined(there.map((reports) => readJson(join(reports, 'test.json'))));
  return summarize(name, `${folder}/src/`, whole ? specs : [], report, reasons);
}

/** Reports of runs of different spec files as one. */
function joined(reports) {
  if (reports.some((report) => !Array.isArray(report?.testResults))) return undefined;
  const testResults = reports.flatMap((report) => report.testResults);
  return { testResults, success: reports.every(({ success }) => success !== false) };
}

/** A test of a conformance suite that the plugin's `supports` rules out: not skipped, there is nothing to run. */
const ruledOut = /^\w+ conformance(?: of|:) (?!.*\(cannot run:)/;

/**
 * The same from the parsed report of vitest, and the reasons given by tests that were skipped while they ran. The report
 * names its files absolutely, and may come from the cache of a checkout that has been moved since: what counts is the
 * part below `sources` ("packages/sdk/src/").
 */
export function summarize(name, sources, specs, report, reasons = {}) {
  if (!Array.isArray(report?.testResults)) return failure(`${name}: the report of the test run cannot be read`);
  const result = emptyResult();
  const seen = new Set();
  for (const file of report.testResults) {
    const at = file.name.lastIndexOf(`/${sources}`);
    const path = at < 0 ? file.name : file.name.slice(at + 1 + sources.length);
    seen.add(path);
    for (const test of file.assertionResults) {
      const title = test.fullName.trim();
      add(result, test, `${name}: ${path}: ${title}`, reasons[title], ruledOut.test(title));
    }
    const failedInside = file.assertionResults.some((test) => test.status === 'failed');
    if (file.status === 'failed' && !failedInside) {
      result.failed.push({ title: `${name}: ${path} could not run`, message: file.message ?? '' });
    }
  }
  for (const spec of specs) {
    if (!seen.has(spec)) result.failed.push({ title: `${name}: ${spec} is missing in the report`, message: '' });
  }
  if (report.success === false && result.failed.length === 0) {
    result.failed.push({ title: `${name}: the run failed outside of any test`, message: '' });
  }
  return result;
}

export function emptyResult() {
  return { passed: 0, failed: [], skipped: [] };
}

/** Adds up results. */
export function total(results) {
  return results.reduce(
    (sum, result) => ({
      passed: sum.passed + result.passed,
      failed: [...sum.failed, ...result.failed],
      skipped: [...sum.skipped, ...result.skipped],
    }),
    emptyResult(),
  );
}

function add(result, test, title, reason, isRuledOut) {
  if (test.status === 'passed') result.passed += 1;
  else if (test.status === 'failed') result.failed.push({ title, message: (test.failureMessages ?? [])[0] ?? '' });
  else if (reason !== undefined) result.skipped.push({ title: `${title} (${reason})` });
  else if (!isRuledOut) result.skipped.push({ title });
}

/** A result that is one failure. */
export function failure(title) {
  return { ...emptyResult(), failed: [{ title, message: '' }] };
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
