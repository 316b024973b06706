// What the ECP5 block RAM does (Lattice, "ECP5 and ECP5-5G Memory Usage Guide"): the inside of Yosys's black box DP16KD.
//
// 512 entries of 36 bits; a port of 18, 9, 4, 2 or 1 bits sees a part of one.  18 bits: ADx0, ADx1 are byte enables, 36
// bits (written on DIA and DIB, read on DOA and DOB): ADx0 to ADx3.  Contents are undefined at first, whatever the
// INITVALs say.  Bits that one port reads while the other writes them are undefined: the complement comes here, so that
// whoever uses them is found out.  Not modelled: chip selects other than 000, and reading 36 bits through port A.

  function automatic integer offset(input integer width, input [13:0] address);
    case (width)
      36: offset = 0;
      18: offset = address[4] * 18;
      9: offset = address[4:3] * 9;
      4: offset = address[4:3] * 9 + address[2] * 4;
      2: offset = address[4:3] * 9 + address[2:1] * 2;
      default: offset = address[4:3] * 9 + address[2:0];
    endcase
  endfunction

  function automatic [35:0] enabled(input integer width, input [13:0] address);
    case (width)
      36: enabled = {{9{address[3]}}, {9{address[2]}}, {9{address[1]}}, {9{address[0]}}};
      18: enabled = {18'b0, {9{address[1]}}, {9{address[0]}}};
      default: enabled = (36'b1 << width) - 36'b1;
    endcase
    enabled = enabled << offset(width, address);
  endfunction

  wire clka = CLKAMUX == "INV" ? ~CLKA : CLKA;
  wire clkb = CLKBMUX == "INV" ? ~CLKB : CLKB;
  wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
  wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
  wire [17:0] dia = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9,
                     DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
  wire [17:0] dib = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9,
                     DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};

  reg [35:0] memory [0:511];
  reg [35:0] latch_a, latch_b, register_a, register_b;

  wire write_a = CEA & WEA & ~RSTA, write_b = CEB & WEB & ~RSTB;
  wire [35:0] mask_a = enabled(DATA_WIDTH_A, ada) & {36{write_a}};
  wire [35:0] mask_b = enabled(DATA_WIDTH_B, adb) & {36{write_b}};
  wire [35:0] new_a = (DATA_WIDTH_A == 36 ? {dib, dia} : {18'b0, dia}) << offset(DATA_WIDTH_A, ada);
  wire [35:0] new_b = (DATA_WIDTH_B == 36 ? {dib, dia} : {18'b0, dib}) << offset(DATA_WIDTH_B, adb);
  wire meet = ada[13:5] == adb[13:5];
  wire [35:0] old_a = memory[ada[13:5]] ^ (meet ? mask_b : 36'b0);
  wire [35:0] old_b = memory[adb[13:5]] ^ (meet ? mask_a : 36'b0);
  wire [35:0] seen_a = WRITEMODE_A == "WRITETHROUGH" ? (old_a & ~mask_a) | (new_a & mask_a) : old_a;
  wire [35:0] seen_b = WRITEMODE_B == "WRITETHROUGH" ? (old_b & ~mask_b) | (new_b & mask_b) : old_b;

  wire clear_a = RESETMODE == "ASYNC" && RSTA, clear_b = RESETMODE == "ASYNC" && RSTB;

  always @(posedge clka)
    if (write_a) memory[ada[13:5]] <= (memory[ada[13:5]] & ~mask_a) | (new_a & mask_a);
  always @(posedge clka, posedge clear_a)
    if (clear_a) {latch_a, register_a} <= 72'b0;
    else begin
      if (RSTA) latch_a <= 36'b0;
      else if (CEA && (!WEA || WRITEMODE_A != "NORMAL")) latch_a <= seen_a >> offset(DATA_WIDTH_A, ada);
      if (RSTA) register_a <= 36'b0;
      else if (OCEA) register_a <= latch_a;
    end

  always @(posedge clkb)
    if (write_b) memory[adb[13:5]] <= (memory[adb[13:5]] & ~mask_b) | (new_b & mask_b);
  always @(posedge clkb, posedge clear_b)
    if (clear_b) {latch_b, register_b} <= 72'b0;
    else begin
      if (RSTB) latch_b <= 36'b0;
      else if (CEB && (!WEB || WRITEMODE_B != "NORMAL")) latch_b <= seen_b >> offset(DATA_WIDTH_B, adb);
      if (RSTB) register_b <= 36'b0;
      else if (OCEB) register_b <= latch_b;
    end

  wire [35:0] out_a = REGMODE_A == "OUTREG" ? register_a : latch_a;
  wire [35:0] out_b = REGMODE_B == "OUTREG" ? register_b : latch_b;
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1,
          DOA0} = DATA_WIDTH_B == 36 ? out_b[17:0] : out_a[17:0];
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1,
          DOB0} = DATA_WIDTH_B == 36 ? out_b[35:18] : out_b[17:0];

  generate
    if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000")
      THIS_USE_OF_DP16KD_IS_NOT_MODELLED error();
  endgenerate
