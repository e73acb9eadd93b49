// The house stands: imports go down only, no circles, the core is pure, the clock is in one place.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const src = fileURLToPath(new URL('../src', import.meta.url))
const files = (readdirSync(src, { recursive: true }) as string[]).filter((f) => f.endsWith('.ts')).sort()

/** 0 values and pure functions; 1 the outside world; 2 the moving part; 3 what the user touches. */
function floor(file: string): number {
  const top = file.split('/')[0] ?? ''
  if (top === 'core' || top === 'providers') return 0
  if (
    /^(clock|breath|pace|aborts|turnstile|transporter|freeze|sibling|envelope|render|attempt|answer|body|quicken|follow|socket-write|address|gate)\.ts$/.test(
      file,
    )
  )
    return 1
  if (top === 'stores' || top === 'mx' || file === 'sqlite.ts') return 1
  if (
    /^(outbox|flights|unsaved-lanes|recovery|lanes|egress|events|owner|conclude|outcomes|tell|permits|explain|report|options|grouping|gate)\.ts$/.test(
      file,
    )
  )
    return 2
  return 3
}

function importsOf(file: string): { target: string; text: string }[] {
  const text = readFileSync(join(src, file), 'utf8')
  const found: { target: string; text: string }[] = []
  for (const [whole, target] of text.matchAll(/(?:[}\w*]\s+from|^import)\s+'([^'\s]+)'$/gm)) {
    if (target === undefined) continue
    const resolved = target.startsWith('.')
      ? relative(src, normalize(join(src, dirname(file), target)))
      : target
    found.push({ target: resolved, text: whole })
  }
  return found
}

const graph = new Map(files.map((f) => [f, importsOf(f).map((i) => i.target)]))

describe('the house', () => {
  it('imports go down only', () => {
    const up = files.flatMap((file) =>
      (graph.get(file) ?? [])
        .filter((target) => files.includes(target) && floor(target) > floor(file))
        .map((target) => `${file} (${floor(file)}) imports ${target} (${floor(target)})`),
    )
    expect(up).toEqual([])
  })

  it('has no import circles, type imports included', () => {
    const circles: string[] = []
    const done = new Set<string>()
    const visit = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) {
        circles.push([...path.slice(path.indexOf(file)), file].join(' → '))
        return
      }
      if (done.has(file)) return
      for (const target of graph.get(file) ?? []) if (graph.has(target)) visit(target, [...path, file])
      done.add(file)
    }
    for (const file of files) visit(file, [])
    expect(circles).toEqual([])
  })

  it('the core imports nothing of Node and nothing from npm but ms', () => {
    const impure = files
      .filter((f) => floor(f) === 0)
      .flatMap((f) =>
        (graph.get(f) ?? []).filter((t) => !files.includes(t) && t !== 'ms').map((t) => `${f}: ${t}`),
      )
    expect(impure).toEqual([])
  })

  it('only clock.ts names the time, chance and timers', () => {
    const guilty = files.filter((f) => {
      if (f === 'clock.ts') return false
      const code = readFileSync(join(src, f), 'utf8')
        .replace(/\/\*[\s\S]*?\*\//g, '')
        .replace(/\/\/.*$/gm, '')
      // a Date given by a user may be read, the present may not
      return /\bDate\.now\b|new Date\(\)|Math\.random|\bset(Timeout|Interval|Immediate)\(/.test(code)
    })
    expect(guilty).toEqual([])
  })
})
