// `steadymail explain`, as a person at a terminal sees it.

import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { explain } from '../../src/cli/explain.ts'
import { program } from '../program.ts'

const TSS04 =
  '421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints'

describe('explain', () => {
  it('says what a reply means, about whom, how long to wait, and what to do', () => {
    expect(explain([TSS04])).toEqual({
      status: 0,
      out: [
        `reply:    ${TSS04}`,
        'meaning:  rate-limit, for now: the same message may pass later',
        'about:    your mail to this provider',
        'wait:     2h (what is known of this provider)',
        'waiting:  helps',
        'do:       Send more slowly to this provider, and warm up a new IP or domain over weeks.',
        'see:      https://senders.yahooinc.com/smtp-error-codes/',
        'provider: yahoo',
        'rule:     yahoo-tss04 (provider)',
      ].join('\n'),
    })
  })

  it('gives the verdict as JSON', () => {
    const { out = '' } = explain(['450 4.2.0 Greylisted for 300 seconds', '--phase', 'rcpt', '--json'])
    expect(JSON.parse(out)).toMatchObject({
      cause: 'greylist',
      retryAfterMs: 300_000,
      retryAfterFrom: 'text',
      rule: 'greylisted',
    })
  })

  it('takes host and domain into account', () => {
    expect(explain(['450 busy', '--mx', 'mx01.mail.icloud.com']).out).toContain('provider: icloud')
    expect(explain(['450 busy', '--domain', 'web.de']).out).toContain('provider: gmx-webde')
  })

  it('reads \\n as a line break', () => {
    expect(explain(['550-5.7.1 one\\n550 5.7.1 DMARC policy']).out).toContain('authentication')
  })

  it('never prints control characters', () => {
    expect(explain(['550 \u001b[2Jgone\u0007']).out).not.toMatch(/[\u0007\u001b]/)
  })

  it.each([
    [[], 'steadymail explain: expected a reply to explain, got none'],
    [
      ['421', 'too', 'fast'],
      'steadymail explain: expected one reply in quotes, got 3 arguments: put quotes around the reply',
    ],
    [
      ['421 x', '--phase', 'lunch'],
      "steadymail explain: --phase: expected one of greeting, ehlo, auth, mail, rcpt, data, dot, idle, unknown, got 'lunch'",
    ],
  ])('misuse %j is told with how it is used', (args, problem) => {
    const { status, err = '', out } = explain(args)
    expect(status).toBe(2)
    expect(out).toBeUndefined()
    expect(err.split('\n')[0]).toBe(problem)
    expect(err).toContain('steadymail explain "<reply>"')
  })

  it('an unknown option is misuse too', () => {
    expect(explain(['421 x', '--nope'])).toMatchObject({ status: 2 })
  })
})

describe('the bin', () => {
  const cli = program(new URL('../../src/cli.ts', import.meta.url))
  const run = (...args: string[]) => spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8' })

  it('runs a command', () => {
    const { status, stdout } = run('explain', '450 busy')
    expect([status, stdout.split('\n')[1]]).toEqual([
      0,
      'meaning:  server-busy, for now: the same message may pass later',
    ])
  })

  it('refuses an unknown command with status 2', () => {
    const { status, stderr } = run('frobnicate')
    expect(status).toBe(2)
    expect(stderr).toMatch(/^steadymail: expected a command \(explain.*\), got frobnicate\n/)
  })
})
