// The periodic table: symbol, name, row and column of every element; the f-block stands below, in rows 8 and 9.

const LISTED = [
  "H hydrogen 1 1", "He helium 1 18", "Li lithium 2 1", "Be beryllium 2 2", "B boron 2 13", "C carbon 2 14",
  "N nitrogen 2 15", "O oxygen 2 16", "F fluorine 2 17", "Ne neon 2 18", "Na sodium 3 1", "Mg magnesium 3 2",
  "Al aluminum 3 13", "Si silicon 3 14", "P phosphorus 3 15", "S sulfur 3 16", "Cl chlorine 3 17", "Ar argon 3 18",
  "K potassium 4 1", "Ca calcium 4 2", "Sc scandium 4 3", "Ti titanium 4 4", "V vanadium 4 5", "Cr chromium 4 6",
  "Mn manganese 4 7", "Fe iron 4 8", "Co cobalt 4 9", "Ni nickel 4 10", "Cu copper 4 11", "Zn zinc 4 12",
  "Ga gallium 4 13", "Ge germanium 4 14", "As arsenic 4 15", "Se selenium 4 16", "Br bromine 4 17",
  "Kr krypton 4 18", "Rb rubidium 5 1", "Sr strontium 5 2", "Y yttrium 5 3", "Zr zirconium 5 4", "Nb niobium 5 5",
  "Mo molybdenum 5 6", "Tc technetium 5 7", "Ru ruthenium 5 8", "Rh rhodium 5 9", "Pd palladium 5 10",
  "Ag silver 5 11", "Cd cadmium 5 12", "In indium 5 13", "Sn tin 5 14", "Sb antimony 5 15", "Te tellurium 5 16",
  "I iodine 5 17", "Xe xenon 5 18", "Cs cesium 6 1", "Ba barium 6 2", "La lanthanum 8 3", "Ce cerium 8 4",
  "Pr praseodymium 8 5", "Nd neodymium 8 6", "Pm promethium 8 7", "Sm samarium 8 8", "Eu europium 8 9",
  "Gd gadolinium 8 10", "Tb terbium 8 11", "Dy dysprosium 8 12", "Ho holmium 8 13", "Er erbium 8 14",
  "Tm thulium 8 15", "Yb ytterbium 8 16", "Lu lutetium 8 17", "Hf hafnium 6 4", "Ta tantalum 6 5", "W tungsten 6 6",
  "Re rhenium 6 7", "Os osmium 6 8", "Ir iridium 6 9", "Pt platinum 6 10", "Au gold 6 11", "Hg mercury 6 12",
  "Tl thallium 6 13", "Pb lead 6 14", "Bi bismuth 6 15", "Po polonium 6 16", "At astatine 6 17", "Rn radon 6 18",
  "Fr francium 7 1", "Ra radium 7 2", "Ac actinium 9 3", "Th thorium 9 4", "Pa protactinium 9 5", "U uranium 9 6",
  "Np neptunium 9 7", "Pu plutonium 9 8", "Am americium 9 9", "Cm curium 9 10", "Bk berkelium 9 11",
  "Cf californium 9 12", "Es einsteinium 9 13", "Fm fermium 9 14", "Md mendelevium 9 15", "No nobelium 9 16",
  "Lr lawrencium 9 17", "Rf rutherfordium 7 4", "Db dubnium 7 5", "Sg seaborgium 7 6", "Bh bohrium 7 7",
  "Hs hassium 7 8", "Mt meitnerium 7 9", "Ds darmstadtium 7 10", "Rg roentgenium 7 11", "Cn copernicium 7 12",
  "Nh nihonium 7 13", "Fl flerovium 7 14", "Mc moscovium 7 15", "Lv livermorium 7 16", "Ts tennessine 7 17",
  "Og oganesson 7 18",
];

/** The elements by atomic number, as {symbol, name, row, column}. */
export const ELEMENTS = LISTED.map((text) => {
  const [symbol, name, row, column] = text.split(" ");
  return { symbol, name, row: Number(row), column: Number(column) };
});
