import { expect, test } from 'vitest'
import { type AttemptRequest, attempt } from '../../src/attempt.ts'
import { systemClock } from '../../src/clock.ts'
import { type ScriptedAnswers, scriptedTransport } from '../../src/testing/scripted-transport.ts'
import { openTarget } from '../../src/transporter.ts'
import { MAJORS } from '../nodemailers.ts'

const bytes = Buffer.from('Message-ID: <m@here.test>\r\n\r\nHi\r\n')
const request: AttemptRequest = {
  message: {
    id: 'm',
    messageId: '<m@here.test>',
    from: 'me@here.test',
    fromDomain: 'here.test',
    size: bytes.length,
    priority: 1,
    createdAt: 0,
    expiresAt: 1,
    recipients: 2,
    wire: {},
  },
  bytes,
  recipients: ['ann@one.test', 'bob@one.test'],
  timeoutMs: 1000,
  gate: () => {},
}

async function outcomes(answers: ScriptedAnswers, more: Partial<AttemptRequest> = {}) {
  const transport = scriptedTransport([answers], { bodies: true })
  const result = await attempt(openTarget(transport), { ...request, ...more }, systemClock)
  return { ...result, recorded: transport.attempts[0] }
}

test('says per attempt what a list says, then accepts', async () => {
  const transport = scriptedTransport(['421 4.7.0 Later', 'drop'])
  const target = openTarget(transport)
  const said: unknown[] = []
  for (let i = 0; i < 3; i++) said.push((await attempt(target, request, systemClock)).outcomes[0])
  expect(said).toEqual([
    {
      accepted: false,
      uncertain: false,
      reply: { code: 421, enhanced: '4.7.0', text: '421 4.7.0 Later', phase: 'rcpt' },
    },
    { accepted: false, uncertain: true, reply: { errno: 'ECONNECTION', text: 'ECONNECTION', phase: 'dot' } },
    { accepted: true, reply: { code: 250, enhanced: '2.0.0', text: '250 2.0.0 Ok', phase: 'dot' } },
  ])
  expect(transport.attempts.map(({ number, accepted }) => [number, accepted.length])).toEqual([
    [1, 0],
    [2, 0],
    [3, 2],
  ])
})

test('asks for the body exactly when an SMTP client would send it', async () => {
  const asked = async (answers: ScriptedAnswers) => {
    let count = 0
    const gate = () => {
      count++
    }
    const { recorded } = await outcomes(answers, { gate })
    expect(recorded?.bytes?.length).toBe(count === 0 ? undefined : bytes.length)
    return count
  }
  expect(await asked(undefined)).toBe(1)
  expect(await asked('drop')).toBe(1)
  expect(await asked({ reply: '451 4.3.0 Later', phase: 'dot' })).toBe(1)
  expect(await asked({ recipients: { 'ann@one.test': '550 5.1.1 No' } })).toBe(1)
  expect(await asked('550 5.1.1 No')).toBe(0)
  expect(await asked({ errno: 'ECONNREFUSED' })).toBe(0)
})

test('sends nothing when the gate refuses', async () => {
  const gate = async () => {
    throw new Error('lease lost')
  }
  expect(await outcomes(undefined, { gate })).toMatchObject({ gated: true, recorded: undefined })
})

test('a script may be a function, take its time, and be aborted', async () => {
  const abort = new AbortController()
  const transport = scriptedTransport(({ to, from }) => {
    expect([from, to]).toEqual(['me@here.test', request.recipients])
    abort.abort()
    return new Promise(() => {})
  })
  const result = await attempt(openTarget(transport), { ...request, signal: abort.signal }, systemClock)
  expect(result).toMatchObject({ aborted: true })
  expect(result.outcomes[0]).toMatchObject({ uncertain: false, reply: { errno: 'EABORT' } })
})

test('a mistake in the script ends the attempt', async () => {
  const { outcomes: said } = await outcomes('later' as never)
  expect(said[0]?.reply.text).toBe(
    "a transport script answered 'later': expected a code and a text, or 'drop'",
  )
})

test.each(MAJORS)('is a transport like any other to nodemailer $major', async ({ nodemailer }) => {
  const transport = scriptedTransport(
    [{ recipients: { 'bob@one.test': '550 5.1.1 No' } }, '421 4.7.0 Later'],
    { bodies: true },
  )
  const transporter = nodemailer.createTransport(transport)
  const mail = { from: 'me@here.test', to: request.recipients, text: 'Hi there' }
  expect(await transporter.sendMail(mail)).toMatchObject({
    accepted: ['ann@one.test'],
    rejected: ['bob@one.test'],
    response: '250 2.0.0 Ok',
  })
  expect(Buffer.from(transport.attempts[0]?.bytes ?? []).toString()).toContain('Hi there')
  await expect(transporter.sendMail(mail)).rejects.toMatchObject({ responseCode: 421 })
})
