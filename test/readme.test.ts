// What the README and our own pages in docs/ say is so: code runs or compiles, replies mean what the table says,
// files and commands that are named exist.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { classifyReply, memoryStore, type SteadymailError, wrapTransport } from 'steadymail'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { DEFAULT_REACTIONS } from '../src/core/reaction.ts'
import { duration } from '../src/core/units.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const PAGES = ['README.md', 'docs/testing.md', 'docs/architecture.md']
const readme = read('README.md')

const running = ['examples', 'test/docs'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((file) => file.endsWith('.ts'))
    .map((file) => read(join(folder, file))),
)

function blocks(page: string, language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm')
  return [...read(page).matchAll(fence)].map(([, code]) => code ?? '')
}

/** What the compiler says of a piece of code, as a module of its own. */
function complaints(code: string): readonly string[] {
  const file = join(root, 'examples', 'block.ts')
  const config = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root)
  const host = ts.createCompilerHost(options)
  const { readFile, fileExists } = host
  host.readFile = (name) => (name === file ? code : readFile(name))
  host.fileExists = (name) => name === file || fileExists(name)
  const program = ts.createProgram([file], options, host)
  const source = program.getSourceFile(file)
  return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
    ({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'),
  )
}

describe.each(PAGES)('%s', (page) => {
  it('shows code that runs in the tests, or at least compiles', () => {
    for (const block of blocks(page, 'ts')) {
      if (running.some((code) => code.includes(block))) continue
      expect(complaints(block), block).toEqual([])
    }
  })

  it('names scripts that exist', () => {
    const scripts = Object.keys(JSON.parse(read('package.json')).scripts)
    const named = [...read(page).matchAll(/npm (?:run )?([\w:]+)/g)].map(([, name]) => name)
    expect(named.filter((name) => !['ci', 'install', ...scripts].includes(name ?? ''))).toEqual([])
  })

  it('links to files that exist', () => {
    const links = [...read(page).matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)].map(([, link]) => link ?? '')
    expect(links.filter((link) => !existsSync(resolve(root, dirname(page), link)))).toEqual([])
  })
})

describe('README.md', () => {
  it('has code that would fail to compile when it is wrong', () => {
    expect(
      complaints("import { wrapTransport } from 'steadymail'\nwrapTransport('smtp://x', {})\n"),
    ).toHaveLength(1)
  })

  it('tells what the replies of its table mean, and for how long they hold', () => {
    const rows = [...readme.matchAll(/^\| (\S+) \| `([45].*)` \| (\S+) \| (\S+) \|$/gm)]
    expect(rows.length).toBeGreaterThan(5)
    for (const [, domain = '', reply = '', cause, wait = ''] of rows) {
      const verdict = classifyReply(reply, domain === 'any' ? {} : { domain })
      const usual = DEFAULT_REACTIONS[verdict.cause].hold
      const first = verdict.retryAfterMs ?? (usual === undefined ? undefined : duration(String(usual)))
      expect([reply, verdict.cause, first]).toEqual([
        reply,
        cause,
        wait === 'none' ? undefined : duration(wait),
      ])
    }
  })

  it('quotes the error of a bad rate word for word', () => {
    const quoted = /`(policies\[0\]\.rate: [^`]+)`/.exec(readme)?.[1]?.replace(/\s+/g, ' ')
    const bad = [{ name: 'x', domains: ['x.test'], rate: '20' as never }]
    const refused = () => wrapTransport('smtp://localhost', { store: memoryStore(), policies: bad })
    try {
      refused()
      expect.unreachable()
    } catch (error) {
      expect((error as SteadymailError).message).toBe(quoted)
    }
  })
})
