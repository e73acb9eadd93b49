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
const PAGES = ['README.md', ...readdirSync(join(root, 'docs')).map((file) => `docs/${file}`)].filter((page) =>
  page.endsWith('.md'),
)
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

/** What a page may take for granted: that the reader has read the one before. */
const GRANTED = `
declare const mailer: import('steadymail').Mailer<Record<string, unknown>>
declare const store: import('steadymail').Store
declare const url: string
declare const privateKey: string
declare const transport: import('steadymail/mx').MxTransport
declare const mail: import('nodemailer').SendMailOptions
declare const nodemailer: typeof import('nodemailer').default
declare const acme: import('steadymail').ProviderPolicy
declare const { expect }: typeof import('vitest')
declare const { wrapTransport, classifyReply, memoryStore }: typeof import('steadymail')
declare const { mxTransport }: typeof import('steadymail/mx')
type ProviderPolicy = import('steadymail').ProviderPolicy
`

/** What the compiler says of pieces of code, each as a module of its own. */
function complaints(codes: readonly string[]): readonly string[][] {
  const virtual = new Map(
    codes.map((code, n) => [join(root, 'examples', `block${n}.ts`), `${code}\nexport {}\n`]),
  )
  const names = [...virtual.keys()]
  const granted = join(root, 'examples', 'granted.d.ts')
  virtual.set(granted, GRANTED)
  const config = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root)
  const host = ts.createCompilerHost(options)
  const { readFile, fileExists } = host
  host.readFile = (name) => virtual.get(name) ?? readFile(name)
  host.fileExists = (name) => virtual.has(name) || fileExists(name)
  const program = ts.createProgram(
    [...names, granted],
    { ...options, noUnusedLocals: false, noUnusedParameters: false },
    host,
  )
  return names.map((name) => {
    const source = program.getSourceFile(name)
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'),
    )
  })
}

const standing = PAGES.flatMap((page) => blocks(page, 'ts')).filter(
  (block) => !running.some((code) => code.includes(block)),
)

it('every piece of code in the pages runs in the tests, or at least compiles', () => {
  const bad = "import { wrapTransport } from 'steadymail'\nwrapTransport('smtp://x', {})\n"
  const [wrong, ...found] = complaints([bad, ...standing])
  expect(wrong, 'a mistake is found').toHaveLength(1)
  expect(found.flatMap((said, n) => (said.length === 0 ? [] : [[standing[n], ...said].join('\n')]))).toEqual(
    [],
  )
}, 60_000)

describe.each(PAGES)('%s', (page) => {
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
