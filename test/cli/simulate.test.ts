import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { simulate } from '../../src/cli/simulate.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steadymail-'))
})
afterAll(() => rm(folder, { recursive: true }))

const plan = {
  providers: [{ name: 'a', domains: ['a.example'], receiver: { kind: 'sliding-window', limit: '60/min' } }],
  traffic: [{ to: 'a.example', messages: 100 }],
}

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}

describe('steadymail simulate', () => {
  it('prints a table by lane and draws a picture', async () => {
    const svg = join(folder, 'plan.svg')
    const { out, status } = await simulate([
      await file('plan.json', JSON.stringify(plan)),
      '--svg',
      svg,
      '--seed',
      '2',
    ])
    expect(status).toBe(0)
    expect(out).toMatch(/^lane +messages +delivered/)
    expect(out).toMatch(/a\.example +100 +100/)
    expect(await readFile(svg, 'utf8')).toContain('100 of 100 delivered')
  })

  it('gives the numbers as JSON, and status 1 when mail is left over', async () => {
    const left = {
      ...plan,
      providers: [{ ...plan.providers[0], receiver: { kind: 'outage', from: 0, lasts: '9d' } }],
    }
    const { out, status } = await simulate([
      await file('left.json', JSON.stringify(left)),
      '--json',
      '--days',
      '0.1',
    ])
    expect(status).toBe(1)
    expect(JSON.parse(out ?? '')).toMatchObject({
      messages: 100,
      delivered: 0,
      lanes: [{ lane: 'a.example' }],
    })
  })

  it('says what is wrong with a plan, and how it is used', async () => {
    const cases: readonly (readonly [readonly string[], RegExp])[] = [
      [[], /expected one plan, got 0/],
      [[join(folder, 'none.json')], /none\.json: expected a readable file/],
      [[await file('text.json', '{')], /text\.json: expected JSON/],
      [[await file('empty.json', '{}')], /providers: expected a list of providers/],
      [['--fast'], /--fast/],
    ]
    for (const [args, message] of cases) {
      const { err, status } = await simulate(args)
      expect(status).toBe(2)
      expect(err).toMatch(message)
      expect(err).toContain('steadymail simulate <plan.json>')
    }
  })
})
