/**
 * What the demonstration teaches, and what it asks besides without having taught it.
 */

export interface Lesson {
  readonly question: string
  readonly answer: string
}

const lesson = (question: string, answer: string): Lesson => ({ question, answer })

export const taught: ReadonlyArray<Lesson> = [
  lesson("What is the chemical symbol of gold?", "Au"),
  lesson("What is the chemical symbol of iron?", "Fe"),
  lesson("Which planet is the largest?", "Jupiter"),
  lesson("Which planet is closest to the sun?", "Mercury"),
  lesson("Who painted the Mona Lisa?", "Leonardo da Vinci"),
  lesson("Who wrote the play Hamlet?", "William Shakespeare"),
  lesson("Who discovered penicillin?", "Alexander Fleming"),
  lesson("Which language is spoken in Brazil?", "Portuguese"),
  lesson("Which language is spoken in Austria?", "German"),
  lesson("Which ocean is the deepest?", "the Pacific"),
  lesson("Which metal is liquid at room temperature?", "mercury"),
  lesson("How many strings has a violin?", "four"),
  lesson("How many legs has a spider?", "eight"),
  lesson("How many sides has a hexagon?", "six"),
  lesson("What does a bee make?", "honey"),
  lesson("What is frozen water called?", "ice")
]

/** Not taught, and not counted: they show what the model makes of questions beyond what it was taught. */
export const untaught: ReadonlyArray<string> = [
  "What is the chemical symbol of silver?",
  "How many legs has an octopus?",
  "Who wrote the play Macbeth?",
  "What is 4 + 5?"
]

export const prompt = (question: string): string => `Question: ${question}\nAnswer:`

/** The completion that is trained, with the token that ends it. */
export const completion = (answer: string): string => ` ${answer}<|endoftext|>`
