import { describe, expect, it } from 'vitest';
import { localPrincipal, type Principal } from '../access/principal.ts';
import { Admission } from './admission.ts';
import { defaultLimits } from './limits.ts';
import { Quota } from './quota.ts';
import { Rate } from './rate.ts';

describe('a rate', () => {
  it('lets a burst of two seconds through, then as many as the rate, and says how long to wait', () => {
    let now = 0;
    const rate = new Rate(10, 2, () => now);
    for (let n = 0; n < 20; n++) expect(rate.take('a')).toBe(0);
    expect(rate.take('a')).toBe(100);
    expect(rate.take('b')).toBe(0);
    now += 99;
    expect(rate.take('a')).toBe(1);
    now += 1;
    expect(rate.take('a')).toBe(0);
    expect(rate.take('a')).toBe(100);
    now += 60_000;
    for (let n = 0; n < 20; n++) expect(rate.take('a')).toBe(0);
    expect(rate.take('a')).toBe(100);
  });

  it('charges what cannot be refused, up to a debt of one burst', () => {
    let now = 0;
    const rate = new Rate(10, 2, () => now);
    for (let n = 0; n < 20; n++) expect(rate.charge('a')).toBe(0);
    expect(rate.charge('a')).toBe(100);
    expect(rate.charge('a')).toBe(200);
    now += 200;
    expect(rate.charge('a')).toBe(100);
    for (let n = 0; n < 100; n++) rate.charge('a');
    expect(rate.charge('a')).toBe(2_000);
  });

  it('remembers a bounded number of keys, those used last', () => {
    const rate = new Rate(0.5, 2, () => 0);
    expect(rate.take('first')).toBe(0);
    expect(rate.take('first')).toBe(2_000);
    for (let n = 0; n < 9_999; n++) rate.take(`k${n}`);
    expect(rate.take('first')).toBe(2_000);
    for (let n = 0; n < 10_000; n++) rate.take(`m${n}`);
    expect(rate.take('first')).toBe(0);
  });
});

describe('a quota', () => {
  it('counts what is open, each release once', () => {
    const quota = new Quota(2);
    const one = quota.take('a');
    const two = quota.take('a');
    expect(quota.take('a')).toBeUndefined();
    expect(quota.take('b')).toBeDefined();
    one?.();
    one?.();
    expect(quota.count('a')).toBe(1);
    expect(quota.take('a')).toBeDefined();
    expect(quota.take('a')).toBeUndefined();
    two?.();
    expect(quota.count('a')).toBe(1);
  });
});

describe('admission', () => {
  const token = (id: string): Principal => ({ ...localPrincipal, id, scopes: new Set(['events:read']) });

  it('holds each token to its rates and numbers, each with a code of its own', () => {
    const admission = new Admission({
      ...defaultLimits,
      connectionsPerToken: 1,
      subscriptionsPerToken: 1,
      requestsPerSecondPerToken: 1,
      messagesPerSecondPerToken: 1,
    });
    const release = admission.connection(token('t'));
    expect(() => admission.connection(token('t'))).toThrow(expect.objectContaining({ code: 'CONNECTIONS_EXCEEDED' }));
    admission.connection(token('other'));
    release();
    admission.connection(token('t'));
    admission.subscription(token('t'));
    expect(() => admission.subscription(token('t'))).toThrow(
      expect.objectContaining({ code: 'SUBSCRIPTIONS_EXCEEDED' }),
    );
    admission.request(token('t'), 'a');
    admission.request(token('t'), 'a');
    expect(() => admission.request(token('t'), 'a')).toThrow(
      expect.objectContaining({ code: 'RATE_LIMITED', details: { retryAfterMs: expect.any(Number) } }),
    );
    expect([1, 2].map(() => admission.message(token('t'), 'a'))).toEqual([0, 0]);
    expect(admission.message(token('t'), 'b')).toBeGreaterThan(0);
  });

  it('holds an address to a rate of messages, whatever its tokens are', () => {
    const admission = new Admission({ ...defaultLimits, messagesPerSecondPerAddress: 1 });
    expect(['t', 'u'].map((id) => admission.message(token(id), 'a'))).toEqual([0, 0]);
    expect(admission.message(token('v'), 'a')).toBeGreaterThan(0);
    expect(admission.charge(token('w'), 'a')).toBeGreaterThan(0);
    expect(admission.message(token('v'), 'b')).toBe(0);
    expect(admission.message(localPrincipal, 'a')).toBe(0);
  });

  it('has no rates for the holder of the token file', () => {
    const admission = new Admission({ ...defaultLimits, requestsPerSecondPerToken: 1, messagesPerSecondPerToken: 1 });
    for (let n = 0; n < 100; n++) {
      admission.request(localPrincipal, 'a');
      expect(admission.message(localPrincipal, 'a')).toBe(0);
    }
  });

  it('tells an address that keeps coming with wrong tokens to wait, and lets right ones through', () => {
    const admission = new Admission({
      ...defaultLimits,
      refusalsPerMinutePerAddress: 3,
      requestsPerSecondPerAddress: 5,
    });
    for (let n = 0; n < 3; n++) admission.refused('10.0.0.1');
    expect(() => admission.refused('10.0.0.1')).toThrow(expect.objectContaining({ code: 'RATE_LIMITED' }));
    admission.refused('10.0.0.2');
    for (let n = 0; n < 6; n++) admission.request(token(`t${n}`), '10.0.0.1');
    expect(() => admission.request(token('t'), '10.0.0.1')).toThrow(/5 requests a second from 10\.0\.0\.1/);
    admission.request(localPrincipal, '10.0.0.1');
  });
});
